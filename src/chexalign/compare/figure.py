"""Figure 3 of the CheXalign paper: what a judge says of a policy against how long its reports are."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from chexalign.compare.studies import OVERLAP, Studies, System
from chexalign.present.metrics import metric_info
from chexalign.present.svg import inline_svg, light_grid, new_figure, policy_styles, styled
from chexalign.types import Estimate

_MOST = 6  # panels: more cannot be read side by side
_PANEL_INCHES = 3.4


def length_figure(shown: Sequence[System], studies: Studies) -> Markup | None:
    """Mean words per report and the mean score of each judge, one panel per judge; None without scores.

    Crosses are the intervals of both. A policy keeps its color and marker in every panel.
    """
    judges = dict.fromkeys(judge for system in shown for judge in system.side.judges if judge not in OVERLAP)
    judges = dict.fromkeys(list(judges)[:_MOST])
    points = {judge: _points(shown, studies, judge) for judge in judges}
    points = {judge: found for judge, found in points.items() if found}
    if not points:
        return None
    styles = policy_styles([system.name for system in shown])
    rows = -(-len(points) // 3)
    with styled():
        figure = new_figure(_PANEL_INCHES * rows)
        axes = figure.subplots(rows, min(3, len(points)), squeeze=False).ravel()
        for panel, (judge, found) in zip(axes, points.items(), strict=False):
            for system, words, score in found:
                style = styles[system.name]
                panel.errorbar(
                    [words.value],
                    [score.value],
                    xerr=_reach(words),
                    yerr=_reach(score),
                    color=style.color,
                    marker=style.marker,
                    markersize=6,
                    linewidth=1.2,
                    label=system.name,
                )
            panel.set_title(metric_info(judge).label)
            panel.set_xlabel("Words per report")
            light_grid(panel, "y")
            panel.margins(0.15)
        for panel in axes[len(points) :]:
            panel.set_visible(False)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8)
        return inline_svg(figure, "length", "Mean score by each judge against mean words per report, by policy")


def _points(shown: Sequence[System], studies: Studies, judge: str) -> list[tuple[System, Estimate, Estimate]]:
    out = []
    for system in shown:
        words, score = studies.find(system, "words"), studies.find(system, judge)
        if words and score and words.estimate.value is not None and score.estimate.value is not None:
            out.append((system, words.estimate, score.estimate))
    return out


def _reach(estimate: Estimate) -> list[list[float]] | None:
    """How far the interval goes below and above the value."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return None
    return [[max(0.0, estimate.value - estimate.low)], [max(0.0, estimate.high - estimate.value)]]
