"""Where the parts of a table are made: in this process, in several, or in threads of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from chexalign import processes
from chexalign.store import PartInfo, Table

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class PartResult(Generic[R]):
    """The rows of one part, and the account of those that are missing."""

    rows: Sequence[R]
    dropped: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


class PartWorker(Protocol[R]):
    """Makes the parts of a table; it is sent to each process, and `setup` is called there once."""

    def setup(self) -> None:
        """Loads what all parts need, e.g. a model."""
        ...

    def part(self, index: int) -> PartResult[R]:
        """The rows of part `index`, a pure function of the worker and the index."""
        ...


@dataclass(frozen=True, slots=True)
class Parts(Generic[R]):
    """The parts of a table that are still to be made, and what makes them."""

    table: Table[R]
    worker: PartWorker[R]
    fingerprint: str
    missing: Sequence[int]

    def make(self, index: int) -> PartInfo:
        """Makes and writes one part; `worker.setup` has been called in this process."""
        start = time.perf_counter()
        result = self.worker.part(index)
        return self.table.write_part(
            index,
            result.rows,
            fingerprint=self.fingerprint,
            dropped=dict(result.dropped),
            seconds=time.perf_counter() - start,
            extra=dict(result.extra),
        )


class Spread(Protocol):
    """Makes parts somewhere and yields the info of each once it is written, in any order."""

    def __call__(self, parts: Parts[Any]) -> Iterator[PartInfo]:
        """Every part of `parts.missing` once; what was written stays when one fails."""
        ...


@dataclass(frozen=True, slots=True)
class Threads:
    """Threads of this process, for workers that wait for something else; `part` must be safe to call in several.

    `close` is called when all is done, or when one part failed and the others need not be waited for.
    """

    n: int
    close: Callable[[], None] | None = None

    def __call__(self, parts: Parts[Any]) -> Iterator[PartInfo]:
        """Several parts are under way at the same time, begun in order."""
        parts.worker.setup()
        with ThreadPoolExecutor(max_workers=self.n) as pool:
            try:
                for future in as_completed([pool.submit(parts.make, index) for index in parts.missing]):
                    yield future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                if self.close is not None:
                    self.close()


@dataclass(frozen=True, slots=True)
class Processes:
    """Processes of this machine, each with a worker of its own; one alone is this process."""

    n: int

    def __call__(self, parts: Parts[Any]) -> Iterator[PartInfo]:
        """Every missing part, made by whichever process is free.

        Raises: UserError when a process was killed.
        """
        if self.n <= 1 or len(parts.missing) == 1:
            parts.worker.setup()
            yield from map(parts.make, parts.missing)
            return
        with ProcessPoolExecutor(
            max_workers=min(self.n, len(parts.missing)),
            mp_context=processes.context(),
            initializer=_prepare_child,
            initargs=(parts,),
        ) as pool:
            try:
                for future in as_completed([pool.submit(_one_part, index) for index in parts.missing]):
                    yield future.result()
            except BrokenProcessPool as e:
                raise processes.killed(parts.table.folder.name) from e
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


# One worker per process, so that its model is loaded once and not sent with every part.
_current: Parts[Any] | None = None
_setup_error: Exception | None = None


def _prepare_child(parts: Parts[Any]) -> None:
    global _current, _setup_error
    processes.end_with_parent()
    try:
        parts.worker.setup()
        _current = parts
    except Exception as e:  # raised by the first part: an initializer that raises looks like a killed process
        _setup_error = e


def _one_part(index: int) -> PartInfo:
    if _setup_error is not None:
        raise _setup_error
    assert _current is not None
    return _current.make(index)
