"""The stage runner: has the parts made that are missing, and writes the manifest last."""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from chexalign import __version__, atomic, ids
from chexalign.errors import UserError
from chexalign.progress import bar
from chexalign.spread import Parts, PartWorker, Processes, Spread
from chexalign.store import MANIFEST, Manifest, PartInfo, Table, merge_dropped

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class StageKey:
    """All that the output of a stage depends on."""

    stage: str
    inputs: dict[str, str]  # name -> content digest of what is read
    config: dict[str, Any]
    seed: int

    @property
    def fingerprint(self) -> str:
        """A digest of the key and of the code's version; work with another fingerprint is never reused."""
        return ids.digest(self.stage, self.inputs, self.config, self.seed, __version__)


def run_parts(
    table: Table[R],
    worker: PartWorker[R],
    *,
    key: StageKey,
    n_parts: int,
    workers: int = 1,
    spread: Spread | None = None,
    label: str | None = None,
    dropped_before: Mapping[str, int] | None = None,
    most_dropped: int | None = None,
    only: int | None = None,
) -> Manifest:
    """The manifest of the finished table, after doing whichever parts were missing or damaged.

    They are made where `spread` says, else by `workers` processes of this machine.
    `dropped_before` counts rows that never reached a part, by reason; they are added to the manifest's account.
    With `only`, no part after the first so many is made: where some are then missing the manifest tells of those that
    are there and is not written, so the table is not finished.
    Raises: UserError when parts drop more than `most_dropped` rows between them; what was written stays.
    """
    infos = {i: table.part_info(i, fingerprint=key.fingerprint) for i in range(n_parts)}
    missing = [i for i, info in infos.items() if info is None and (only is None or i < only)]
    manifest = Manifest.load(table.folder)
    if manifest is not None and manifest.fingerprint == key.fingerprint and None not in infos.values():
        return manifest
    atomic.make_folder(table.folder)
    atomic.remove_leftovers(table.folder)
    (table.folder / MANIFEST).unlink(missing_ok=True)
    table.remove_from(n_parts)
    account = _Account(label or key.stage, most_dropped)
    account.check([info for info in infos.values() if info is not None])
    with bar(n_parts, account.label, unit="part", done=n_parts - list(infos.values()).count(None)) as progress:
        for info in (spread or Processes(workers))(Parts(table, worker, key.fingerprint, missing)) if missing else ():
            infos[info.index] = info
            progress.set_postfix_str(account.add(info), refresh=False)
            progress.update()
    done = [info for _, info in sorted(infos.items()) if info is not None]
    manifest = Manifest(
        stage=key.stage,
        fingerprint=key.fingerprint,
        inputs=key.inputs,
        config=key.config,
        seed=key.seed,
        rows=sum(i.rows for i in done),
        dropped=merge_dropped([i.dropped for i in done] + [dict(dropped_before or {})]),
        content=ids.digest([i.content for i in done]),
        seconds=sum(i.seconds for i in done),
        parts=n_parts,
        extra={"workers": workers},
    )
    if len(done) == n_parts:
        manifest.save(table.folder)
    return manifest


class _Account:
    """What parts have come to so far: rows, dropped ones by reason, tokens."""

    def __init__(self, label: str, most_dropped: int | None) -> None:
        self.label, self._most_dropped, self._start = label, most_dropped, time.perf_counter()
        self._dropped: Counter[str] = Counter()
        self._rows = self._tokens = 0

    def check(self, infos: Sequence[PartInfo]) -> None:
        """Counts what was dropped.

        Raises: UserError when that is too much.
        """
        for info in infos:
            self._dropped.update(info.dropped)
        if self._most_dropped is not None and self._dropped.total() > self._most_dropped:
            reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(self._dropped.items()))
            raise UserError(
                f"{self.label} has left out {self._dropped.total()} rows: {reasons}.",
                f"The recipe allows {self._most_dropped}, so something is wrong with more than a few files.",
                "Mend the files, or raise sample.max_dropped, and run again; what is done is kept.",
            )

    def add(self, info: PartInfo) -> str:
        """Counts a part that was made now, and says how far and how fast it goes."""
        self.check([info])
        self._rows += info.rows
        self._tokens += info.extra.get("tokens", 0)
        said = [f"{self._rows:,} rows"]
        if self._dropped:
            said.append(f"{self._dropped.total():,} dropped")
        if self._tokens:
            said.append(f"{self._tokens / (time.perf_counter() - self._start):,.0f} tokens/s")
        return ", ".join(said)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a run folder for this process alone; the lock goes away with the process, however it ends.

    Raises: UserError when another process holds it.
    """
    atomic.make_folder(folder)
    with ExitStack() as stack:
        with atomic.explained(folder):  # the lock's own errors, not those of what runs under it
            _lock(stack.enter_context((folder / ".lock").open("a+")), folder)
        yield


def _lock(f: TextIO, folder: Path) -> None:
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        f.seek(0)
        raise UserError(
            f"The run folder {folder} is in use by process {f.read().strip() or 'unknown'}.",
            "Two runs in one folder would write over each other.",
            "Wait for it or stop it; or give this run another name with --set run=NAME.",
        ) from e
    f.truncate(0)
    f.write(str(os.getpid()))
    f.flush()
