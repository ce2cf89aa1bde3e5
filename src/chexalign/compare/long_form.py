"""A comparison as CSV in long form: one row per number, with the file that it is from."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from chexalign.compare.comparison import Comparison

FIELDS = ("table", "row", "column", "value", "low", "high", "level", "n", "n_clusters", "method", "source")


def long_form(comparison: Comparison) -> str:
    """CSV with full digits; what has no value has an empty one, and the reason as its method."""
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows(comparison))
    return out.getvalue()


def rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """One row per place of each table that is a number or a dash; None where there is nothing to tell."""
    for grid in comparison.grids:
        for line in grid.lines:
            for column, cell in zip(grid.columns, line.cells, strict=True):
                if cell.text is not None:
                    continue
                e = cell.estimate
                yield {
                    "table": grid.number,
                    "row": f"{line.run}/{line.system}",
                    "column": column.metric,
                    "value": e.value if e else None,
                    "low": e.low if e else None,
                    "high": e.high if e else None,
                    "level": e.level if e and e.low is not None else None,
                    "n": (e.n or None) if e else None,
                    "n_clusters": (e.n_clusters or None) if e else None,
                    "method": e.method if e else f"no value: {cell.why}",
                    "source": cell.source,
                }


def _plain(value: Any) -> Any:
    """A number with all its digits; text that a spreadsheet would take for a formula is kept from it."""
    if isinstance(value, float):
        return repr(value)
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
