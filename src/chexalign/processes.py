"""Worker processes: how they start, and how they end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import Protocol

from chexalign.errors import UserError

_POLL_SECONDS = 0.5


class Job(Protocol):
    """A piece of work that can be sent to another process."""

    def run(self, position: int) -> None:
        """Does the work; `position` is the line of its progress bar."""
        ...


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
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_jobs(jobs: Sequence[Job], *, workers: int) -> None:
    """Runs independent jobs, each in a process of its own when there is more than one.

    Raises: the first job's error, after the others have ended.
    """
    if len(jobs) <= 1 or workers <= 1:
        for job in jobs:
            job.run(0)
        return
    with ProcessPoolExecutor(
        max_workers=min(workers, len(jobs)), mp_context=context(), initializer=end_with_parent, max_tasks_per_child=1
    ) as pool:
        try:
            futures = [pool.submit(job.run, i) for i, job in enumerate(jobs)]
            for future in futures:
                future.result()
        except BrokenProcessPool as e:
            raise killed("training") from e
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def killed(what: str) -> UserError:
    """The error for a worker process that ended without a word, mostly for want of memory."""
    return UserError(
        f"A worker process of {what} was killed.",
        "The usual cause is too little memory for the number of workers.",
        "Run the same command again with --set workers=1; it goes on where it stopped.",
    )
