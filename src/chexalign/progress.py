"""Progress bars on stderr: rows done, left and an estimate of the time to go."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """The part of a progress bar that stages use."""

    def update(self, n: int = 1) -> object:
        """Moves the bar on by n."""
        ...

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Shows a short text behind the bar."""
        ...


@contextmanager
def bar(total: int, label: str, *, unit: str = "row", done: int = 0) -> Iterator[Bar]:
    """A progress bar on stderr; on a pipe it prints a line at most every ten seconds."""
    from tqdm import tqdm

    interval = 0.5 if sys.stderr.isatty() else 10.0
    with tqdm(
        total=total,
        desc=f"{label:<28}",
        unit=unit,
        initial=done,
        mininterval=interval,
        maxinterval=max(10.0, interval),
        dynamic_ncols=True,
        file=sys.stderr,
        disable=total == 0,
    ) as b:
        yield b
