"""Where in this process a model computes, and whether its memory ran out."""

from __future__ import annotations

import multiprocessing


def device_here() -> str:
    """The GPU of this worker process, one after the other, or "cpu"."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    number = multiprocessing.current_process()._identity  # (1,), (2,), ... in a pool; () in the main process
    return f"cuda:{(number[-1] - 1 if number else 0) % torch.cuda.device_count()}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "not enough memory" in str(error)
