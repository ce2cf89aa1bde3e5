"""The plots of a report, each an inline SVG; None where the run has nothing to show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from chexalign.present.data import BASELINE, CONTROL, REFERENCE, Curve, PairSet
from chexalign.present.metrics import in_order, metric_info
from chexalign.present.numbers import EstimateIndex, interval_text, value_text
from chexalign.present.plot_parts import (
    Styles,
    beside,
    few_ticks,
    forest_block,
    legend,
    mark,
    metric_rows,
    room,
    stacked,
)
from chexalign.present.svg import INK, MUTED, PolicyStyle, inline_svg, light_grid, new_figure, styled

_BEFORE_AFTER = (
    *("chexpert.micro_f1_13", "mesh.micro_f1_13", "chexpert", "green"),
    *("bertscore", "rouge_l", "bleu_4", "no_finding.micro_f1_1", "f1_no_finding"),
)
_CONTROL = ("chexpert.micro_f1_13", "mesh.micro_f1_13", "chexpert", "bertscore", "rouge_l", "bleu_4")
_CURVE_TITLES = {
    "loss": "Loss",
    "reward_margin": "Reward margin",
    "margin": "Reward margin",
    "accuracy": "Pairs ranked like the judge",
}
_CHANCE = {"reward_margin": 0.0, "margin": 0.0, "accuracy": 0.5}  # where a policy that learned nothing stays
_SMOOTHED_FROM, _MAX_CURVE_POINTS = 100, 240
_PER_ROW, _BINS = 4, 24


def forest_plot(index: EstimateIndex, arms: Sequence[str], styles: Styles) -> Markup | None:
    """Paired differences against the baseline with intervals, metrics by arms; words on an axis of their own."""
    metrics = [m for m in in_order(index.metrics) if any(index.difference(m, arm) for arm in arms)]
    blocks = [[m for m in metrics if metric_info(m).better != 0], [m for m in metrics if m == "words"]]
    blocks = [block for block in blocks if block]
    if not blocks:
        return None
    heights = [len(block) * (len(arms) + 0.7) for block in blocks]
    with styled():
        figure = new_figure(0.19 * sum(heights) + 0.65 * len(blocks))
        for axes, block in zip(stacked(figure, heights), blocks, strict=True):
            forest_block(axes, index, block, arms, styles)
            label = "words per report" if block == ["words"] else "score"
            axes.set_xlabel(f"Difference from {BASELINE} ({label})")
        return inline_svg(figure, "forest", "Paired differences against the baseline, with intervals")


def before_after_plot(index: EstimateIndex, policies: Sequence[str], styles: Styles) -> Markup | None:
    """One panel per main metric: the baseline as a band, every policy with its interval."""
    metrics = [m for m in _BEFORE_AFTER if index.get(m, BASELINE)]
    if not metrics:
        return None
    n_rows = -(-len(metrics) // _PER_ROW)
    with styled():
        figure = new_figure(2.3 * n_rows)
        grid = figure.subplots(n_rows, _PER_ROW, squeeze=False).ravel()
        for axes, metric in zip(grid, metrics, strict=False):
            _policy_panel(axes, index, metric, policies, styles)
        for axes in grid[len(metrics) :]:
            axes.set_axis_off()
        return inline_svg(figure, "before-after", "Every policy before and after preference training, by metric")


def control_plot(index: EstimateIndex, styles: Styles) -> Markup | None:
    """The baseline with its own image against the baseline with another study's image."""
    metrics = [m for m in _CONTROL if index.get(m, BASELINE) and index.get(m, CONTROL)]
    if not metrics:
        return None
    with styled():
        figure = new_figure(0.42 * len(metrics) + 0.8)
        axes = figure.subplots()
        for row, metric in enumerate(metrics):
            pair = [index.get(metric, policy) for policy in (CONTROL, BASELINE)]
            values = [e.value for e in pair if e is not None and e.value is not None]
            axes.plot(values, [row] * len(values), color="#c3cad1", linewidth=3, zorder=1, solid_capstyle="round")
            for policy, estimate in zip((CONTROL, BASELINE), pair, strict=True):
                mark(axes, estimate, row, styles[policy], size=7)
            if difference := index.get(metric, CONTROL, BASELINE):
                beside(axes, row, f"{value_text(difference)}  {interval_text(difference)}", difference.excludes_zero)
        metric_rows(axes, metrics)
        room(axes, "x")
        axes.set_xlim(left=0)
        legend(axes, {"another study's image": styles[CONTROL], "its own image": styles[BASELINE]})
        axes.text(1.02, 1.0, "other image minus own", transform=axes.transAxes, color=MUTED, va="bottom", fontsize=8)
        return inline_svg(figure, "control", "The baseline with its own image against another study's image")


def length_plot(index: EstimateIndex, policies: Sequence[str], styles: Styles) -> Markup | None:
    """Mean words per report by policy, and the ratio to the reference; a line marks the reference's own length."""
    panels = [m for m in ("words", "words_vs_reference", "findings_per_report") if index.get(m, BASELINE)]
    if not panels:
        return None
    shown = [p for p in policies if index.get(panels[0], p)]
    with styled():
        figure = new_figure(0.3 * len(shown) + 0.9)
        for axes, metric in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for row, policy in enumerate(shown):
                mark(axes, index.get(metric, policy), row, styles[policy], size=6.5)
            _reference_line(axes, index, metric)
            axes.set_yticks(range(len(shown)), shown if axes.get_subplotspec().is_first_col() else [""] * len(shown))
            axes.set_ylim(len(shown) - 0.4, -0.6)
            axes.set_title(metric_info(metric).label)
            axes.margins(x=0.15)
            room(axes, "x")
            light_grid(axes, "x")
        return inline_svg(figure, "length", "Length of the reports of every policy")


def curves_plot(curves: Sequence[Curve], styles: Styles) -> Markup | None:
    """Training curves: a panel per curve of a stage, one panel for all arms together."""
    panels: dict[tuple[str, str], list[tuple[str, Curve]]] = {}
    for curve in curves:
        policy = _policy_of(curve.stage, styles)
        group = "arms" if policy not in (None, BASELINE) else curve.stage
        panels.setdefault((group, curve.name), []).append((policy or curve.stage, curve))
    if not panels:
        return None
    per_row = len(panels) if len(panels) <= 4 else 3
    n_rows = -(-len(panels) // per_row)
    with styled():
        figure = new_figure(2.25 * n_rows + 0.25)
        grid = figure.subplots(n_rows, per_row, squeeze=False).ravel()
        for axes, ((group, name), members) in zip(grid, panels.items(), strict=False):
            for policy, curve in members:
                _line(axes, curve, styles.get(policy, PolicyStyle(MUTED, "o")).color, policy)
            title = _CURVE_TITLES.get(name, name.replace("_", " ").capitalize())
            axes.set_title(title if group == "arms" else f"{group}: {title.lower()}")
            axes.set_xlabel("optimizer step")
            light_grid(axes, "y")
            if name in _CHANCE:
                axes.axhline(_CHANCE[name], color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        arms = dict.fromkeys(p for (group, _), members in panels.items() if group == "arms" for p, _ in members)
        if arms:
            lines = [Line2D([], [], color=styles[arm].color, linewidth=1.6, label=arm) for arm in arms]
            figure.legend(handles=lines, loc="outside upper right", ncols=len(lines), fontsize=8)
        return inline_svg(figure, "curves", "Training curves")


def pairs_plot(pairs: PairSet, styles: Styles, name: str) -> Markup | None:
    """Distributions of score and words of the chosen and the rejected texts of one arm."""
    if not len(pairs.chosen_scores):
        return None
    color = styles[pairs.arm].color if pairs.arm in styles else MUTED
    with styled():
        figure = new_figure(2.1)
        left, right = figure.subplots(1, 2)
        scores = np.concatenate([pairs.chosen_scores, pairs.rejected_scores])
        edges = np.linspace(scores.min(), max(scores.max(), scores.min() + 1e-6), _BINS + 1)
        _two_histograms(left, pairs.chosen_scores, pairs.rejected_scores, color, edges)
        left.set_title(f"Score of {pairs.judge}")
        words_histograms(right, pairs.chosen_words, pairs.rejected_words, color)
        left.set_ylabel("pairs")
        left.legend(handlelength=1.4)
        return inline_svg(figure, name, f"Chosen and rejected texts of {pairs.arm}: scores and words")


def words_histograms(axes: Axes, chosen: Sequence[int], rejected: Sequence[int], color: str) -> None:
    """How many words chosen and rejected texts have, with medians."""
    words = np.concatenate([chosen, rejected])
    width = -(-(int(np.ptp(words)) + 1) // _BINS)  # whole words, or bins would hold unequal numbers of them
    edges = np.arange(words.min() - 0.5, words.max() + width + 0.5, width)
    _two_histograms(axes, chosen, rejected, color, edges)
    axes.set_title("Words")


def _policy_panel(axes: Axes, index: EstimateIndex, metric: str, policies: Sequence[str], styles: Styles) -> None:
    base = index.get(metric, BASELINE)
    if base is not None and base.low is not None and base.high is not None:
        axes.axhspan(base.low, base.high, color=styles[BASELINE].color, alpha=0.09, linewidth=0)
    if base is not None and base.value is not None:
        axes.axhline(base.value, color=styles[BASELINE].color, linewidth=0.9, linestyle=(0, (3, 2)))
    for column, policy in enumerate(policies):
        mark(axes, index.get(metric, policy), column, styles[policy], size=6.5, vertical=True)
    axes.set_xticks(range(len(policies)), [p.replace("_", "\n") for p in policies], fontsize=7.5)
    axes.set_xlim(-0.6, len(policies) - 0.4)
    axes.set_title(metric_info(metric).label, fontsize=8.5)
    axes.margins(y=0.18)
    room(axes, "y")
    axes.yaxis.set_major_locator(few_ticks())
    light_grid(axes, "y")


def _reference_line(axes: Axes, index: EstimateIndex, metric: str) -> None:
    reference = index.get(metric, REFERENCE)
    value = 1.0 if metric == "words_vs_reference" else reference.value if reference else None
    if value is None:
        return
    axes.axvline(value, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    axes.text(value, 1.0, "reference ", transform=axes.get_xaxis_transform(), ha="right", va="top", fontsize=8)


def _policy_of(stage: str, styles: Styles) -> str | None:
    """The policy that a stage trains: `dpo_label` for `dpo_label` and for `train/dpo_label`."""
    last = stage.rpartition("/")[2]
    return last if last in styles else None


def _line(axes: Axes, curve: Curve, color: str, label: str) -> None:
    x, y = np.asarray(curve.x, dtype=float), np.asarray(curve.y, dtype=float)
    kept = np.isfinite(y)
    x, y = x[kept], y[kept]
    if len(y) < _SMOOTHED_FROM:
        axes.plot(x, y, color=color, linewidth=1.4, label=label)
        return
    window = len(y) // 20
    every = max(1, -(-len(y) // _MAX_CURVE_POINTS))
    axes.plot(x[::every], y[::every], color=color, linewidth=0.7, alpha=0.3)
    smooth = np.convolve(y, np.ones(window) / window, mode="valid")
    middle = np.convolve(x, np.ones(window) / window, mode="valid")
    axes.plot(middle[::every], smooth[::every], color=color, linewidth=1.6, label=label)


def _two_histograms(
    axes: Axes, chosen: Sequence[float], rejected: Sequence[float], color: str, edges: npt.NDArray[np.float64]
) -> None:
    """Both on the same bins: chosen filled, rejected outlined, medians as vertical lines."""
    bins = edges.tolist()
    axes.hist(chosen, bins=bins, color=color, alpha=0.35, label="chosen")
    axes.hist(rejected, bins=bins, histtype="step", color=INK, linewidth=1.2, label="rejected")
    top = axes.get_ylim()[1]
    for values, shade, style in ((chosen, color, "-"), (rejected, INK, "--")):
        axes.plot([np.median(values)] * 2, [0, top], color=shade, linewidth=1.2, linestyle=style)
    axes.set_ylim(0, top)
    light_grid(axes, "y")
    axes.yaxis.set_major_locator(few_ticks())
