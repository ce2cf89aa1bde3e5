"""Plots of mining: how pure likeness is, and whether confidence means what it says; None where there is nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from chexalign.evaluate.calibration import Bin, Calibration
from chexalign.mine.purity import Purity
from chexalign.present.data import BASELINE
from chexalign.present.mining_data import WrongAnswers
from chexalign.present.numbers import EstimateIndex, interval_text, value_text
from chexalign.present.plot_parts import Styles, mark
from chexalign.present.plots import words_histograms
from chexalign.present.plots_more import differences_plot
from chexalign.present.svg import INK, MUTED, RULE, PolicyStyle, inline_svg, light_grid, new_figure, styled
from chexalign.types import QuestionKind

_PER_ROW = 4
_STRIP, _BARS = 0.30, 0.13  # below 0: how far a panel goes on for its counts, and its tallest bar
_DASHED = (0, (3, 2))


@dataclass(frozen=True, slots=True)
class CalibrationPanel:
    """One panel: the bins of some answers, and faint behind them those they are compared with."""

    title: str
    style: PolicyStyle
    shown: Calibration
    behind: Calibration | None = None


def purity_plot(curves: Sequence[Purity], style: PolicyStyle, used: str) -> Markup | None:
    """A panel per combination: the share of failures among the first k neighbors, and in a draw at random."""
    known = [curve for curve in curves if any(estimate.value is not None for estimate in curve.curve)]
    if not known:
        return None
    n_rows = -(-len(known) // _PER_ROW)
    with styled():
        figure = new_figure(2.15 * n_rows)
        grid = figure.subplots(n_rows, min(_PER_ROW, len(known)), squeeze=False, sharex=True, sharey=True).ravel()
        for place, (axes, curve) in enumerate(zip(grid, known, strict=False)):
            _purity_panel(axes, curve, style)
            axes.set_title(f"{curve.variant} (used)" if curve.variant == used else curve.variant)
            if place + _PER_ROW >= len(known):
                axes.set_xlabel("neighbors of each seed, k")
                axes.xaxis.set_tick_params(labelbottom=True)
        for axes in grid[len(known) :]:
            axes.set_axis_off()
        for axes in grid[:: min(_PER_ROW, len(known))]:
            axes.set_ylabel("share failed as well")
        grid[0].set_ylim(bottom=0)
        return inline_svg(figure, "purity", "Share of failures among the nearest neighbors of failures")


def calibration_plot(panels: Sequence[CalibrationPanel], name: str) -> Markup | None:
    """Accuracy against confidence by bin, the diagonal, and how many answers each bin has."""
    known = [panel for panel in panels if panel.shown.ece.value is not None]
    if not known:
        return None
    per_row = 3 if len(known) in (3, 5, 6) else _PER_ROW
    n_rows = -(-len(known) // per_row)
    with styled():
        figure = new_figure(2.9 * n_rows)
        grid = figure.subplots(n_rows, min(per_row, len(known)), squeeze=False, sharex=True, sharey=True).ravel()
        for axes, panel in zip(grid, known, strict=False):
            _calibration_panel(axes, panel)
        for axes in grid[len(known) :]:
            axes.set_axis_off()
        for place, axes in enumerate(grid[: len(known)]):
            if place + per_row >= len(known):
                axes.set_xlabel("confidence")
                axes.xaxis.set_tick_params(labelbottom=True)
            if place % per_row == 0:
                axes.set_ylabel("share right")
        return inline_svg(figure, name, "Accuracy against confidence, by bins of confidence, with counts")


def words_plot(wrong: WrongAnswers, style: PolicyStyle) -> Markup | None:
    """How long right and wrong answers are."""
    if not wrong.chosen_words:
        return None
    with styled():
        figure = new_figure(1.9, 4.4)
        axes = figure.subplots()
        words_histograms(axes, wrong.chosen_words, wrong.rejected_words, style.color)
        axes.set_ylabel("questions")
        axes.legend(handlelength=1.4)
        return inline_svg(figure, "mined-words", "Words of right and wrong answers")


def gains_by_type_plot(index: EstimateIndex, arms: Sequence[str], styles: Styles) -> Markup | None:
    """The relative gain in accuracy of every policy over the baseline, by kind of question."""
    names = [f"vqa.{group}.relative_gain" for group in ("all", *get_args(QuestionKind))]
    shown = [m for m in names if any(index.difference(m, arm) for arm in arms)]
    label = f"Accuracy above {BASELINE}'s, as a share of it, same questions"
    return differences_plot(index, shown, arms, styles, "gains-by-type", label, "Relative gains by type of question")


def _purity_panel(axes: Axes, curve: Purity, style: PolicyStyle) -> None:
    points = [(k, e.value) for k, e in enumerate(curve.curve, start=1) if e.value is not None]
    banded = [
        (k, e.low, e.high) for k, e in enumerate(curve.curve, start=1) if e.low is not None and e.high is not None
    ]
    if banded:
        places, low, high = zip(*banded, strict=True)
        axes.fill_between(places, low, high, color=style.color, alpha=0.15, linewidth=0)
    axes.plot([k for k, _ in points], [value for _, value in points], color=style.color, marker="o", markersize=3)
    if curve.base_rate is not None:
        axes.axhline(curve.base_rate, color=MUTED, linewidth=0.9, linestyle=_DASHED)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    light_grid(axes, "y")


def _calibration_panel(axes: Axes, panel: CalibrationPanel) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=_DASHED)
    bins = [one for one in panel.shown.bins if one.accuracy.n]
    most = max(one.accuracy.n for one in bins)
    for one in bins:
        middle, height = (one.low + one.high) / 2, _BARS * one.accuracy.n / most
        axes.bar(middle, height, 0.9 * (one.high - one.low), bottom=-_STRIP, color="#d5dbe1")
        place = {"ha": "center", "va": "bottom", "rotation": 90, "fontsize": 6.5, "color": MUTED}
        axes.text(middle, height - _STRIP + 0.015, _count(one.accuracy.n), **place)  # type: ignore[arg-type]
    if panel.behind is not None:
        line = _points(panel.behind.bins)
        axes.plot(*line, color=MUTED, linewidth=1, marker="o", markersize=2.5, alpha=0.6)
    axes.plot(*_points(bins), color=panel.style.color, linewidth=1.1)
    for one in bins:
        if one.confidence.value is not None:
            mark(axes, one.accuracy, one.confidence.value, panel.style, size=4.5, vertical=True)
    ece = panel.shown.ece
    axes.set_title(panel.title, fontsize=8.5, pad=16)
    told = f"ECE {value_text(ece)} {interval_text(ece) if ece.low is not None else ''}"
    axes.text(0, 1.015, told, transform=axes.transAxes, va="bottom", fontsize=7.5, color=INK)
    axes.axhline(0, color=RULE, linewidth=0.8, zorder=1)
    axes.set(xlim=(0, 1), ylim=(-_STRIP, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    light_grid(axes, "y")


def _points(bins: Sequence[Bin]) -> tuple[list[float], list[float]]:
    pairs = [(b.confidence.value, b.accuracy.value) for b in bins]
    known = [(x, y) for x, y in pairs if x is not None and y is not None]
    return [x for x, _ in known], [y for _, y in known]


def _count(n: int) -> str:
    """`999`, `1.2k`, `12k`: a number that fits over a narrow bar."""
    return str(n) if n < 1000 else f"{n / 1000:.1f}k" if n < 9950 else f"{n / 1000:.0f}k"
