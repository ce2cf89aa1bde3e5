"""A table of a comparison before it has a format: every number in it is an Estimate with the file that it is from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chexalign.types import Estimate


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of a table: a number, words, or a dash with the reason why there is neither."""

    estimate: Estimate | None = None
    source: str = ""  # RUN/FILE: KEY that the number can be read from
    best: bool = False
    text: str | None = None
    why: str | None = None  # of a dash, or what is to be said beside a number


@dataclass(frozen=True, slots=True)
class Column:
    """What stands in a column; `better` is 1, -1 or 0 as of a metric."""

    metric: str
    label: str
    decimals: int = 3
    better: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One row: whose numbers these are. `quoted` names the publication of numbers that were not computed here."""

    run: str
    system: str
    cells: Sequence[Cell]
    quoted: str | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """One table, numbered as in the CheXalign paper (12 is not there), or the numbers of a figure."""

    number: str  # "3", or "Figure 3"
    title: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    notes: Sequence[str] = field(default=())
    every_n: bool = False  # n beside every number, and not once per row

    @property
    def heading(self) -> str:
        """`Table 3. TITLE`, or `Figure 3. TITLE`."""
        return f"{f'Table {self.number}' if self.number.isdigit() else self.number}. {self.title}"

    @property
    def key(self) -> str:
        """The number as part of an address: `3`, or `figure-3`."""
        return self.number.lower().replace(" ", "-")


def counted(metric: str, policy: str, split: str, value: float | None, *, n: int, n_clusters: int, why: str) -> Cell:
    """A number that describes the run and estimates nothing: it has no interval, and `why` says so."""
    if value is None:
        return Cell(why=f"no value: {why}")
    return Cell(Estimate(metric, policy, split, value, None, None, 0.0, n, n_clusters, f"no interval: {why}"))
