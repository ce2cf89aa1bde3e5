"""A comparison as one HTML page that loads nothing."""

from __future__ import annotations

from pathlib import Path

from chexalign.compare.comparison import Comparison
from chexalign.compare.figure import length_figure
from chexalign.compare.layout import lay_out
from chexalign.compare.reports import LENGTH_FIGURE
from chexalign.present.templating import page_environment

_TEMPLATES = Path(__file__).parent / "templates"


def page(comparison: Comparison) -> str:
    """The HTML; every text in it is escaped, and its policy forbids the browser to load anything."""
    environment = page_environment(_TEMPLATES)
    figures = {grid.key: length_figure(grid) for grid in comparison.grids if grid.number == LENGTH_FIGURE}
    tables = [(grid.key, lay_out(grid)) for grid in comparison.grids]
    return environment.get_template("compare.html.j2").render(comparison=comparison, tables=tables, figures=figures)
