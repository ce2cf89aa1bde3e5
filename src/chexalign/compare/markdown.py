"""A comparison as Markdown, for a README."""

from __future__ import annotations

import re

from chexalign.compare.comparison import Comparison
from chexalign.compare.grid import Grid
from chexalign.compare.layout import Row, Shown, lay_out


def markdown(comparison: Comparison) -> str:
    """Every table with its notes; text is escaped, so that no name breaks a table."""
    blocks = ["# " + escaped(" and ".join(comparison.labels)), "\n".join(f"- {escaped(n)}" for n in comparison.notes)]
    blocks += [_table(grid) for grid in comparison.grids]
    return "\n\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    """The text with what Markdown or HTML would read as markup made plain."""
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " "))


def _table(grid: Grid) -> str:
    laid = lay_out(grid)
    lines = [
        f"## {escaped(laid.title)}",
        "",
        "| Run | System | " + " | ".join(map(escaped, laid.head)) + " | n / clusters |",
        "|---" * (len(laid.head) + 3) + "|",
        *map(_row, laid.rows),
        "",
        *(f"- {escaped(note)}" for note in laid.notes),
        *(f"- ({mark}) {escaped(text)}" for text, mark in laid.footnotes.items()),
    ]
    return "\n".join(lines)


def _row(row: Row) -> str:
    name = escaped(row.system) + _marks(row.marks)
    return "| " + " | ".join([escaped(row.run), name, *map(_cell, row.cells), row.n]) + " |"


def _cell(shown: Shown) -> str:
    value = f"**{escaped(shown.value)}**" if shown.best else escaped(shown.value)
    parts = [value + _marks(shown.marks), shown.interval, f"n {shown.n}" if shown.n else ""]
    return " ".join(part for part in parts if part)


def _marks(marks: tuple[str, ...]) -> str:
    return f" ({', '.join(marks)})" if marks else ""
