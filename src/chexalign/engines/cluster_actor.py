"""What runs in an actor on a cluster: it makes parts as their indexes come in; nothing here imports Ray."""

from __future__ import annotations

import dataclasses
import os
import pickle
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexalign import __version__, atomic, privacy
from chexalign.errors import UserError
from chexalign.spread import PartResult, Parts, PartWorker
from chexalign.store import PartInfo, Table

_MOST_TRIES = 5  # of a part that ends its process
_SHARED_SECONDS = 10.0  # how much later than on the driver's node a file of a network disk may be seen


@dataclass(frozen=True, slots=True)
class Order:
    """What the driver wants made, and the token that it leaves in the table's folder for as long as it wants it.

    The token has the name of a leftover, so whatever runs next in the folder takes it away.
    """

    parts: bytes  # pickled: loading it can import much, which has to wait for the offline switches
    token: Path
    cwd: Path  # paths of a run may be relative to it
    version: str = __version__


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A worker whose parts are written only if the driver still waits for them.

    An actor can outlive a killed driver by some seconds. By then the folder may belong to another run.
    """

    worker: PartWorker[Any]
    token: Path

    def setup(self) -> None:
        self.worker.setup()

    def part(self, index: int) -> PartResult[Any]:
        result = self.worker.part(index)
        if not self.token.exists():
            raise UserError(
                f"The run in {self.token.parent} was taken over or ended while part {index} was made.",
                "What another run may be writing there must not be written over.",
                "Run the same command again; it goes on where it stopped.",
            )
        return result


class PartMaker:
    """An actor of the pool; its worker is set up with the first part, whose tries then count a death of either."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._parts: Parts[Any] | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[bytes]]:
        """A batch of one index to a batch of one outcome: a pickled PartInfo, or the exception there was instead.

        Exceptions are results, since Ray would wrap them in its own, and log them.
        """
        try:
            outcome: PartInfo | Exception = self._make(int(batch["index"][0]))
        except Exception as e:
            outcome = e
        return {"outcome": [_pickled(outcome)]}

    def _make(self, index: int) -> PartInfo:
        parts = self._parts or self._load()
        # There when an actor wrote it and was lost before it could tell.
        info = parts.table.part_info(index, fingerprint=parts.fingerprint)
        if info is not None:
            return info
        with _counted(parts.table, index):
            if self._parts is None:
                parts.worker.setup()
                self._parts = parts
            return parts.make(index)

    def _load(self) -> Parts[Any]:
        """The parts of the order, whose worker is not set up yet."""
        privacy.go_offline()
        privacy.close_to_others()
        self._check_node()
        parts: Parts[Any] = pickle.loads(self._order.parts)
        return dataclasses.replace(parts, worker=_Wanted(parts.worker, self._order.token))

    def _check_node(self) -> None:
        """Raises: UserError when this node has other code, or does not see the run folder."""
        if self._order.cwd.is_dir():
            os.chdir(self._order.cwd)
        node = os.uname().nodename
        if self._order.version != __version__:
            raise UserError(
                f"Node {node} has chexalign {__version__}, and the run was started with {self._order.version}.",
                "Parts of one table must be made by the same code.",
                "Install the same version on every node.",
            )
        end = time.monotonic() + _SHARED_SECONDS
        while not self._order.token.is_file():
            if time.monotonic() > end:
                raise UserError(
                    f"Node {node} does not see the run folder, or what is in it: {self._order.token.parent}.",
                    "Parts are written where they are made, so the folder must be on a disk that all nodes share.",
                    "Give a folder on shared storage with --runs DIR, with the same path on every node.",
                )
            time.sleep(0.2)


@contextmanager
def _counted(table: Table[Any], index: int) -> Iterator[None]:
    """Counts the tries of a part in a file, which stays when this process is killed."""
    tries = table.folder / f".part-{index:05d}.tries.tmp"
    with atomic.explained(tries), tries.open("ab") as f:
        f.write(b".")
        n = f.tell()
    try:
        if n > _MOST_TRIES:
            raise UserError(
                f"Part {index} of {table.folder.name} ended the process that made it {_MOST_TRIES} times.",
                "The usual cause is too little memory on the nodes for what an actor holds.",
                "Lower cluster.actors or the stage's batch_size, and run again; finished parts are kept.",
            )
        yield
    finally:
        tries.unlink(missing_ok=True)


def outcome_of(data: bytes) -> PartInfo:
    """The info of a part that was made; raises the exception if there was one instead."""
    outcome = pickle.loads(data)
    if isinstance(outcome, Exception):
        raise outcome
    assert isinstance(outcome, PartInfo)
    return outcome


def _pickled(outcome: PartInfo | Exception) -> bytes:
    """The outcome in bytes; of an exception that cannot be pickled and read again, its traceback."""
    try:
        data = pickle.dumps(outcome)
        pickle.loads(data)
    except Exception:
        assert isinstance(outcome, Exception)
        return pickle.dumps(RuntimeError("".join(traceback.format_exception(outcome))))
    return data
