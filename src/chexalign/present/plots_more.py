"""Plots of the sections on length, on other judges and on answers; None where the run has nothing to show."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from chexalign.evaluate.length import LengthGroup
from chexalign.present.data import BASELINE
from chexalign.present.metrics import metric_info
from chexalign.present.numbers import EstimateIndex
from chexalign.present.plot_parts import Styles, few_ticks, forest_block, mark
from chexalign.present.svg import INK, MUTED, inline_svg, light_grid, new_figure, styled

_PER_ROW = 3


def win_rate_plot(groups: Sequence[LengthGroup], styles: Styles) -> Markup | None:
    """Win rates by how many words a policy writes more than the baseline, one panel per policy."""
    arms = [arm for arm in dict.fromkeys(group.win_rate.policy for group in groups) if arm in styles]
    if not arms:
        return None
    n_rows = -(-len(arms) // _PER_ROW)
    with styled():
        figure = new_figure(2.5 * n_rows)
        grid = figure.subplots(n_rows, min(_PER_ROW, len(arms)), squeeze=False, sharey=True).ravel()
        for axes, arm in zip(grid, arms, strict=False):
            own = [group for group in groups if group.win_rate.policy == arm]
            axes.axhline(0.5, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
            for place, group in enumerate(own):
                mark(axes, group.win_rate, place, styles[arm], size=5.5, vertical=True)
            axes.set_xticks(range(len(own)), [_span(group) for group in own], rotation=45, ha="right", fontsize=7)
            axes.set_title(f"{arm}, by {metric_info(own[0].win_rate.metric.split('.')[0]).label}", fontsize=8.5)
            axes.set_ylim(0, 1)
            axes.set_xlabel(f"words more than {BASELINE}")
            light_grid(axes, "y")
        for axes in grid[len(arms) :]:
            axes.set_axis_off()
        grid[0].set_ylabel("share of studies won")
        return inline_svg(figure, "win-rate", "Win rate against the baseline, by how many words were added")


def gains_plot(index: EstimateIndex, arms: Sequence[str], styles: Styles) -> Markup | None:
    """What every judge says each policy gained, in standard deviations, and how far the own judge is ahead."""
    metrics = [m for m in index.metrics if metric_info(m).group == "Judges" and m != "goodhart_gap"]
    gap = [m for m in ("goodhart_gap",) if any(index.difference(m, arm) for arm in arms)]
    shown = [m for m in metrics if any(index.difference(m, arm) for arm in arms)] + gap
    label = f"Difference from {BASELINE}, in standard deviations of what each judge gave it"
    return differences_plot(index, shown, arms, styles, "gains", label, "Gain of each policy by every judge")


def tax_plot(index: EstimateIndex, arms: Sequence[str], styles: Styles, bound: float | None) -> Markup | None:
    """Paired differences in accuracy of every task, and the bound on what may be lost."""
    tasks = [m for m in index.metrics if m.endswith(".accuracy") and m.startswith("task.") and m.count(".") == 2]
    shown = [m for m in tasks if any(index.difference(m, arm) for arm in arms)]
    label = f"Difference in accuracy from {BASELINE}, same questions"
    return differences_plot(index, shown, arms, styles, "tax", label, "Accuracy lost or gained on each task", bound)


def differences_plot(
    index: EstimateIndex,
    metrics: Sequence[str],
    arms: Sequence[str],
    styles: Styles,
    name: str,
    label: str,
    description: str,
    bound: float | None = None,
) -> Markup | None:
    """Paired differences against the baseline as a plot of its own; None where there are none."""
    if not metrics:
        return None
    with styled():
        figure = new_figure(0.19 * len(metrics) * (len(arms) + 0.7) + 0.75)
        axes = figure.subplots()
        forest_block(axes, index, metrics, arms, styles)
        if bound is not None:
            axes.axvline(-bound, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
        axes.xaxis.set_major_locator(few_ticks())
        axes.set_xlabel(label)
        return inline_svg(figure, name, description)


def _span(group: LengthGroup) -> str:
    low, high = (f"{value:+.0f}".replace("-", "−") for value in (group.fewest_words, group.most_words))
    return f"{low if low == high else f'{low} to {high}'} (n {group.win_rate.n})"
