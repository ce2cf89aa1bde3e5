"""The stage runner: has the parts made that are missing, and writes the manifest last."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from chexalign import __version__, atomic, ids
from chexalign.errors import UserError
from chexalign.progress import bar
from chexalign.spread import Parts, PartWorker, Processes, Spread
from chexalign.store import MANIFEST, Manifest, Table, merge_dropped

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
) -> Manifest:
    """The manifest of the finished table, after doing whichever parts were missing or damaged.

    They are made where `spread` says, else by `workers` processes of this machine.
    `dropped_before` counts rows that never reached a part, by reason; they are added to the manifest's account.
    """
    infos = {i: table.part_info(i, fingerprint=key.fingerprint) for i in range(n_parts)}
    missing = [i for i, info in infos.items() if info is None]
    manifest = Manifest.load(table.folder)
    if manifest is not None and manifest.fingerprint == key.fingerprint and not missing:
        return manifest
    atomic.make_folder(table.folder)
    atomic.remove_leftovers(table.folder)
    (table.folder / MANIFEST).unlink(missing_ok=True)
    table.remove_from(n_parts)
    with bar(n_parts, label or key.stage, unit="part", done=n_parts - len(missing)) as progress:
        for info in (spread or Processes(workers))(Parts(table, worker, key.fingerprint, missing)) if missing else ():
            infos[info.index] = info
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
    manifest.save(table.folder)
    return manifest


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
