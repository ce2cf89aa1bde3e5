"""A table as it is set: numbers as text, their reasons as footnotes; the same in every format that people read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from chexalign.compare.grid import Cell, Column, Grid, Line
from chexalign.present.numbers import fixed
from chexalign.types import Estimate

DASH = "–"


@dataclass(frozen=True, slots=True)
class Shown:
    """One place as it is set; `marks` name footnotes."""

    value: str
    interval: str = ""
    best: bool = False
    marks: tuple[str, ...] = ()
    n: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it is set; `n` is that of its numbers, clusters behind it."""

    run: str
    system: str
    cells: Sequence[Shown]
    n: str
    marks: tuple[str, ...] = ()


@dataclass(slots=True)
class Laid:
    """A whole table as it is set."""

    title: str
    head: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    footnotes: dict[str, str] = field(default_factory=dict)  # text -> mark

    def mark(self, text: str) -> str:
        """The mark of a footnote: a, b, ..., z, aa, ab, ..."""
        if text not in self.footnotes:
            number, letters = len(self.footnotes), ""
            while number >= 0:
                letters = chr(ord("a") + number % 26) + letters
                number = number // 26 - 1
            self.footnotes[text] = letters
        return self.footnotes[text]


def lay_out(grid: Grid) -> Laid:
    """The table with its footnotes, in the order in which they are met."""
    laid = Laid(grid.heading)
    whole = [_of_whole_column(grid.lines, at) for at in range(len(grid.columns))]
    laid.head = [
        f"{column.label} ({laid.mark(why)})" if why else column.label
        for column, why in zip(grid.columns, whole, strict=True)
    ]
    for line in grid.lines:
        usual = _usual_n(line)
        cells = [
            _shown(laid, cell, column, line, None if why else usual, grid.every_n, told=why is not None)
            for cell, column, why in zip(line.cells, grid.columns, whole, strict=True)
        ]
        marks = (laid.mark(f"quoted from {line.quoted}, not computed here"),) if line.quoted else ()
        laid.rows.append(Row(line.run, line.system, cells, n_text(*usual) if usual else DASH, marks))
    found = [e for line in grid.lines for cell in line.cells if (e := cell.estimate) and e.low is not None]
    levels = sorted({e.level for e in found})
    intervals = " and ".join(f"{level:.0%}" for level in levels)
    laid.notes = [f"In brackets: {intervals} intervals. n is told with its clusters."] if levels else []
    laid.notes += grid.notes
    return laid


def n_text(n: int, n_clusters: int) -> str:
    """`600 / 580`: n and its clusters; a dash for what is not known."""
    return f"{n:,} / {f'{n_clusters:,}' if n_clusters else DASH}" if n else DASH


def _shown(
    laid: Laid, cell: Cell, column: Column, line: Line, usual: tuple[int, int] | None, every_n: bool, *, told: bool
) -> Shown:
    if cell.text is not None:
        return Shown(cell.text)
    if cell.estimate is None or cell.estimate.value is None:
        return Shown(DASH, marks=(laid.mark(cell.why or "no value"),))
    estimate, number, marks = cell.estimate, cell.estimate.value, []
    if estimate.low is None or estimate.high is None:
        interval = ""
        if not told and not line.quoted:
            marks.append(laid.mark(_reason(estimate)))
    else:
        interval = f"[{fixed(estimate.low, column.decimals)}, {fixed(estimate.high, column.decimals)}]"
    of = (estimate.n, estimate.n_clusters)
    if usual is not None and of != usual and not every_n and not _counts_itself(estimate):
        marks.append(laid.mark(f"n = {n_text(*of)}"))
    value = f"{number:,.0f}" if not column.decimals else fixed(number, column.decimals)
    return Shown(value, interval, cell.best, tuple(marks), n_text(*of) if every_n and not line.quoted else "")


def _of_whole_column(lines: Sequence[Line], at: int) -> str | None:
    """The reason why no number of a column has an interval, where it is one reason."""
    numbers = [e for line in lines if not line.quoted and (e := line.cells[at].estimate) and e.value is not None]
    reasons = {_reason(e) if e.low is None else "" for e in numbers}
    return reasons.pop() if len(reasons) == 1 and "" not in reasons else None


def _reason(estimate: Estimate) -> str:
    reason = estimate.method.split(";")[0]
    return reason if reason.startswith("no interval") else f"no interval: {reason}"


def _usual_n(line: Line) -> tuple[int, int] | None:
    found = [e for cell in line.cells if (e := cell.estimate) and e.value is not None]
    counts = Counter((e.n, e.n_clusters) for e in found if not _counts_itself(e))
    return counts.most_common(1)[0][0] if counts else None


def _counts_itself(estimate: Estimate) -> bool:
    return estimate.value == estimate.n
