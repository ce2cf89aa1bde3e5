r"""A comparison as LaTeX: one table environment each, for a paper that has \usepackage{booktabs}."""

from __future__ import annotations

import re

from chexalign.compare.comparison import Comparison
from chexalign.compare.grid import Grid
from chexalign.compare.layout import Row, Shown, lay_out

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "\n": " ",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def latex(comparison: Comparison) -> str:
    r"""Every table, to be read by \input; it needs booktabs and graphicx, and is ASCII where the names are."""
    lines = [f"% {_comment(note)}" for note in comparison.notes]
    lines.append("% needs \\usepackage{booktabs} and \\usepackage{graphicx}")
    return "\n".join([*lines, *(_table(grid) for grid in comparison.grids)]) + "\n"


def escaped(text: str) -> str:
    """The text with every character that LaTeX gives a meaning made plain."""
    return re.sub("|".join(map(re.escape, _SPECIAL)), lambda found: _SPECIAL[found.group()], text)


def _comment(text: str) -> str:
    return " ".join(text.split())


def _table(grid: Grid) -> str:
    laid = lay_out(grid)
    notes = [*laid.notes, *(f"({mark}) {text}." for text, mark in laid.footnotes.items())]
    return "\n".join(
        [
            "",
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{escaped(grid.title)}}}",
            f"\\label{{tab:compare-{grid.key}}}",
            r"\resizebox{\linewidth}{!}{%",
            f"\\begin{{tabular}}{{ll{'r' * len(laid.head)}r}}",
            r"\toprule",
            " & ".join(["Run", "System", *map(escaped, laid.head), "n / clusters"]) + r" \\",
            r"\midrule",
            *map(_row, laid.rows),
            r"\bottomrule",
            r"\end{tabular}}",
            *(f"\\par\\footnotesize {escaped(note)}" for note in notes),
            r"\end{table}",
        ]
    )


def _row(row: Row) -> str:
    name = escaped(row.system) + _marks(row.marks)
    return " & ".join([escaped(row.run), name, *map(_cell, row.cells), escaped(row.n)]) + r" \\"


def _cell(shown: Shown) -> str:
    value = f"\\textbf{{{escaped(shown.value)}}}" if shown.best else escaped(shown.value)
    # A bracket at the start of a row would be read as the option of the line break before it.
    parts = [value + _marks(shown.marks), f"{{{shown.interval}}}" if shown.interval else ""]
    return " ".join(part for part in [*parts, f"n {escaped(shown.n)}" if shown.n else ""] if part)


def _marks(marks: tuple[str, ...]) -> str:
    return f"\\textsuperscript{{{','.join(marks)}}}" if marks else ""
