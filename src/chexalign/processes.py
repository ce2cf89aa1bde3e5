"""Worker processes: how they start, and how they end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.context import BaseContext

from chexalign.errors import UserError


def context() -> BaseContext:
    """Processes that are forked from a clean server with the slow imports done once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    ctx = multiprocessing.get_context("forkserver")
    ctx.set_forkserver_preload(["torch", "transformers", "pyarrow.parquet"])
    return ctx


def end_with_parent() -> None:
    """Makes this process end soon after its parent does, so that a killed run leaves nothing that writes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    parent = multiprocessing.parent_process()  # not os.getppid(): that is the fork server, which outlives a killed run
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def killed(what: str) -> UserError:
    """The error for a worker process that ended without a word, mostly for want of memory."""
    return UserError(
        f"A worker process of {what} was killed.",
        "The usual cause is too little memory for the number of workers.",
        "Run the same command again with --set workers=1; it goes on where it stopped.",
    )
