"""Several processes in one run: the first does what cannot be shared, and all of them train together.

`accelerate launch`, `torchrun` and Slurm templates start the processes and set RANK and WORLD_SIZE; without these there
is one process, and every function here is the plain call that it stands for. All processes must see the same files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")

# How long processes wait for the first one, which may draw and judge candidates for days meanwhile.
_PATIENCE = timedelta(days=30)
_FAILED = 1  # exit code of a process whose first one has failed, and told why

_waiting: Any = None  # a group on the CPU, so that waiting keeps no accelerator busy


def n_processes() -> int:
    """How many processes were launched together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """True in the process that holds the run folder and writes; always true in a single one."""
    return int(os.environ.get("RANK", "0")) == 0


def first_alone(work: Callable[[], T]) -> T:
    """What `work` returns: the first process does it alone, and then the others, who find it done.

    Raises: SystemExit in the others when the first one fails, whose error is the one to read.
    """
    if n_processes() == 1:
        return work()
    _join()
    if not is_first():
        _from_first(None)
        return work()
    result = _telling(work)
    _from_first(True)
    return result


def first_decides(work: Callable[[], T]) -> T:
    """What `work` returns in the first process, where alone it is done; it must be something that pickles."""
    if n_processes() == 1:
        return work()
    _join()
    result = _telling(work) if is_first() else None
    found: T = _from_first((result,))[0]
    return found


def finish() -> None:
    """Lets go of the other processes after all have done their work; call it last."""
    global _waiting
    if _waiting is not None:
        import torch.distributed

        _waiting = None
        torch.distributed.destroy_process_group()


def _telling(work: Callable[[], T]) -> T:
    """What `work` returns; when it fails, the other processes are told before the error goes on."""
    try:
        return work()
    except BaseException:
        _broadcast([None, _FAILED])
        raise


def _from_first(value: Any) -> Any:
    """The value that the first process gives."""
    found, failed = _broadcast([value, 0])
    if failed:
        raise SystemExit(failed)
    return found


def _broadcast(message: list[Any]) -> list[Any]:
    import torch.distributed

    torch.distributed.broadcast_object_list(message, src=0, group=_waiting)
    return message


def _join() -> None:
    """Joins the processes, as Accelerate does for training; before any work, since joining does not wait for long."""
    global _waiting
    if _waiting is None:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())
        _waiting = torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)
