"""Figure 3 of the CheXalign paper: what a judge says of a policy against how long its reports are."""

from __future__ import annotations

from markupsafe import Markup
from matplotlib.axes import Axes

from chexalign.compare.grid import Column, Grid
from chexalign.present.svg import PolicyStyle, inline_svg, light_grid, new_figure, policy_styles, styled
from chexalign.types import Estimate

_MOST, _BESIDE = 6, 3  # panels in all, and in a row: more cannot be read
_PANEL_INCHES = 3.4
_WORDS = "words"


def length_figure(grid: Grid) -> Markup | None:
    """Mean words per report and the mean score of each judge, one panel per judge, from a table that has both.

    Crosses are the intervals of both. A system keeps its color and marker in every panel; judges after the sixth are
    in the table alone. None without a judge.
    """
    panels = [at for at, column in enumerate(grid.columns) if column.metric != _WORDS][:_MOST]
    if not panels:
        return None
    styles = policy_styles([f"{line.run}/{line.system}" for line in grid.lines])
    with styled():
        figure = new_figure(_PANEL_INCHES * -(-len(panels) // _BESIDE))
        axes = figure.subplots(-(-len(panels) // _BESIDE), min(_BESIDE, len(panels)), squeeze=False).ravel()
        for panel, at in zip(axes, panels, strict=False):
            _panel(panel, grid, at, styles)
        for panel in axes[len(panels) :]:
            panel.set_visible(False)
        shown = dict(pair for panel in axes for pair in zip(*reversed(panel.get_legend_handles_labels()), strict=True))
        figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=4, fontsize=8)
        return inline_svg(figure, "length", "Mean score by each judge against mean words per report, by policy")


def _panel(axes: Axes, grid: Grid, at: int, styles: dict[str, PolicyStyle]) -> None:
    column: Column = grid.columns[at]
    words_at = [column.metric for column in grid.columns].index(_WORDS)
    for line in grid.lines:
        words, score, name = line.cells[words_at].estimate, line.cells[at].estimate, f"{line.run}/{line.system}"
        if words is None or score is None or words.value is None or score.value is None:
            continue
        axes.errorbar(
            [words.value],
            [score.value],
            xerr=_reach(words),
            yerr=_reach(score),
            color=styles[name].color,
            marker=styles[name].marker,
            markersize=6,
            linewidth=1.2,
            label=name,
        )
    axes.set_title(column.label)
    axes.set_xlabel("Words per report")
    light_grid(axes, "y")
    axes.margins(0.15)


def _reach(estimate: Estimate) -> list[list[float]] | None:
    """How far the interval goes below and above the value."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return None
    return [[max(0.0, estimate.value - estimate.low)], [max(0.0, estimate.high - estimate.value)]]
