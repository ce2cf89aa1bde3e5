"""What the plots of estimates share: markers with intervals, rows, numbers beside them, legends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from chexalign.present.metrics import metric_info
from chexalign.present.numbers import EstimateIndex, interval_text, value_text
from chexalign.present.svg import INK, MUTED, PolicyStyle, light_grid
from chexalign.types import Estimate

Styles = Mapping[str, PolicyStyle]

_ONE_VALUE = 1e-6  # values that lie closer together are one value but for rounding


def stacked(figure: Figure, heights: Sequence[float]) -> list[Axes]:
    """Axes one below the other, with these relative heights."""
    return list(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])


def forest_block(axes: Axes, index: EstimateIndex, metrics: Sequence[str], arms: Sequence[str], styles: Styles) -> None:
    """Paired differences of some metrics with intervals, one row per arm under each metric."""
    axes.axvline(0, color=INK, linewidth=0.9)
    step = len(arms) + 0.7
    for block, metric in enumerate(metrics):
        for i, arm in enumerate(arms):
            estimate, row = index.difference(metric, arm), block * step + i
            mark(axes, estimate, row, styles[arm], size=5.5)
            if estimate is not None:
                places = metric_info(metric).decimals
                text = f"{value_text(estimate, places)}  {interval_text(estimate, places)}"
                beside(axes, row, text, estimate.excludes_zero)
        if block:
            axes.axhline(block * step - 0.85, color="#edf0f3", linewidth=0.8, zorder=0)
    centers = [block * step + (len(arms) - 1) / 2 for block in range(len(metrics))]
    axes.set_yticks(centers, [row_label(m) for m in metrics], color=INK)
    axes.set_ylim((len(metrics) - 1) * step + len(arms) - 0.3, -0.8)
    light_grid(axes, "x")
    axes.margins(x=0.08)
    room(axes, "x")
    if metrics != ["words"]:
        legend(axes, {arm: styles[arm] for arm in arms})


def mark(
    axes: Axes, estimate: Estimate | None, place: float, style: PolicyStyle, *, size: float, vertical: bool = False
) -> None:
    """A marker at the value with its interval as a line."""
    if estimate is None or estimate.value is None:
        return
    if estimate.low is not None and estimate.high is not None:
        ends, places = [estimate.low, estimate.high], [place, place]
        x, y = (places, ends) if vertical else (ends, places)
        axes.plot(x, y, color=style.color, linewidth=1.6, solid_capstyle="butt")
    point = ([place], [estimate.value]) if vertical else ([estimate.value], [place])
    axes.plot(
        *point,
        linestyle="none",
        marker=style.marker,
        markersize=size,
        markerfacecolor=style.fill,
        markeredgecolor=style.color,
        markeredgewidth=1.3,
    )


def beside(axes: Axes, row: float, text: str, strong: bool) -> None:
    """Text to the right of the axes, in line with a row; bold for an interval that excludes 0."""
    axes.text(
        1.02,
        row,
        text.replace("-", "−"),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8,
        fontweight="bold" if strong else "normal",
        color=INK if strong else MUTED,
    )


def metric_rows(axes: Axes, metrics: Sequence[str]) -> None:
    """One row per metric, named at the left."""
    axes.set_yticks(range(len(metrics)), [row_label(m) for m in metrics], color=INK)
    axes.set_ylim(len(metrics) - 0.5, -0.6)
    light_grid(axes, "x")


def row_label(metric: str) -> str:
    """What a metric is called beside its row."""
    info = metric_info(metric)
    return f"{info.label} (less is better)" if info.better < 0 else info.label


def legend(axes: Axes, entries: Styles) -> None:
    """A legend above the axes, one entry per style."""
    handles = [
        Line2D(
            [], [], color=s.color, marker=s.marker, markerfacecolor=s.fill, markersize=5.5, linewidth=1.6, label=name
        )
        for name, s in entries.items()
    ]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles), borderaxespad=0, fontsize=8
    )


def room(axes: Axes, which: Literal["x", "y"]) -> None:
    """Widens an axis on which all values are one, where ticks would else tell rounding errors apart."""
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    if abs(high - low) < _ONE_VALUE:
        axes.set(**{f"{which}lim": (low - 0.05, high + 0.05)})


def few_ticks() -> MaxNLocator:
    """At most four round ticks."""
    return MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10])
