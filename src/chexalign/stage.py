"""The stage runner: does the parts that are missing, over processes, and writes the manifest last."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TextIO, TypeVar

from chexalign import __version__, atomic, ids, processes
from chexalign.errors import UserError
from chexalign.progress import bar
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


@dataclass(frozen=True, slots=True)
class PartResult(Generic[R]):
    """The rows of one part, and the account of those that are missing."""

    rows: Sequence[R]
    dropped: dict[str, int] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


class PartWorker(Protocol[R]):
    """Makes the parts of a table; it is sent to each process, and `setup` is called there once."""

    def setup(self) -> None:
        """Loads what all parts need, e.g. a model."""
        ...

    def part(self, index: int) -> PartResult[R]:
        """The rows of part `index`, a pure function of the worker and the index."""
        ...


def run_parts(
    table: Table[R],
    worker: PartWorker[R],
    *,
    key: StageKey,
    n_parts: int,
    workers: int = 1,
    label: str | None = None,
    dropped_before: Mapping[str, int] | None = None,
) -> Manifest:
    """The manifest of the finished table, after doing whichever parts were missing or damaged.

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
        for info in _do(table, worker, key.fingerprint, missing, workers):
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


def _do(
    table: Table[R], worker: PartWorker[R], fingerprint: str, missing: Sequence[int], workers: int
) -> Iterator[PartInfo]:
    if not missing:
        return
    if workers <= 1 or len(missing) == 1:
        _prepare(table, worker, fingerprint)
        for index in missing:
            yield _one_part(index)
        return
    with ProcessPoolExecutor(
        max_workers=min(workers, len(missing)),
        mp_context=processes.context(),
        initializer=_prepare_child,
        initargs=(table, worker, fingerprint),
    ) as pool:
        try:
            for future in as_completed([pool.submit(_one_part, index) for index in missing]):
                yield future.result()
        except BrokenProcessPool as e:
            raise processes.killed(table.folder.name) from e
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# One worker per process, so that its model is loaded once and not sent with every part.
_current: tuple[Any, Any, str] | None = None
_setup_error: Exception | None = None


def _prepare_child(table: Table[R], worker: PartWorker[R], fingerprint: str) -> None:
    global _setup_error
    processes.end_with_parent()
    try:
        _prepare(table, worker, fingerprint)
    except Exception as e:  # raised by the first part: an initializer that raises looks like a killed process
        _setup_error = e


def _prepare(table: Table[R], worker: PartWorker[R], fingerprint: str) -> None:
    global _current
    worker.setup()
    _current = (table, worker, fingerprint)


def _one_part(index: int) -> PartInfo:
    if _setup_error is not None:
        raise _setup_error
    assert _current is not None
    table, worker, fingerprint = _current
    start = time.perf_counter()
    result = worker.part(index)
    info: PartInfo = table.write_part(
        index,
        result.rows,
        fingerprint=fingerprint,
        dropped=result.dropped,
        seconds=time.perf_counter() - start,
        extra=result.extra,
    )
    return info
