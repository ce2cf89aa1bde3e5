"""The plots of the page on data, each an inline SVG; None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from chexalign.audit.describe import SECTIONS, QuestionStats, Shared, StudyStats, label_names, quantile
from chexalign.present.svg import MUTED, inline_svg, light_grid, new_figure, styled

# The same hues as policies have in reports, by what a split is for.
COLORS = {"sft": "#0072B2", "prefer": "#C65300", "train": "#0072B2", "validation": "#8A6A00", "test": "#007F5F"}
_BINS, _BARS = 30, 16


def lengths_plot(stats: StudyStats, name: str) -> Markup | None:
    """Words of each section by split, as shares of the studies that have it, up to the longest twentieth."""
    splits = stats.shared.splits
    shown = [section for section in SECTIONS if any(stats.words[section, split] for split in splits)]
    if not shown:
        return None
    with styled():
        figure = new_figure(2.3)
        for axes, section in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            counts = {split: stats.words[section, split] for split in splits if stats.words[section, split]}
            most = max(quantile(of, 0.99) or 1 for of in counts.values())
            width = max(1, -(-most // _BINS))  # whole words, or bins would hold unequal numbers of them
            edges = np.arange(0.5, most + width + 0.5, width)
            for split, of in counts.items():
                heights, _ = np.histogram(list(of), bins=edges, weights=list(of.values()))
                axes.stairs(heights / of.total(), edges, color=_color(split), linewidth=1.5, label=split)
            axes.set_title(section.capitalize())
            axes.set_xlabel("words")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            light_grid(axes, "y")
            _percent(axes, "y")
        axes.legend(handlelength=1.4)
        return inline_svg(figure, name, "Words of each section by split")


def labels_plot(stats: StudyStats, name: str) -> Markup | None:
    """The share of studies whose reference states each label, by split."""
    rows = {
        label: {s: stats.labels[label][s] / stats.shared.rows[s] for s in stats.shared.splits}
        for label in label_names()
    }
    return _dots(rows, name, "share of studies", "Labels of the references by split")


def codes_plot(stats: StudyStats, name: str) -> Markup | None:
    """The most frequent codes, as shares of all studies."""
    total = stats.shared.rows.total()
    rows = {code: {"": n / total} for code, n in stats.codes.most_common(_BARS)}
    return _dots(rows, name, "share of studies", "The most frequent codes") if rows else None


def sizes_plot(shared: Shared, name: str) -> Markup | None:
    """Width and height of the images where they differ; the area of a mark is how many have that size."""
    if len(shared.sizes) < 2:
        return None
    with styled():
        figure = new_figure(2.6, 3.4)
        axes = figure.subplots()
        (widths, heights), counts = zip(*shared.sizes, strict=True), np.array(list(shared.sizes.values()))
        axes.scatter(widths, heights, s=4 + 120 * counts / counts.max(), color=COLORS["sft"], alpha=0.5, linewidths=0)
        most = 1.08 * max(*widths, *heights)
        axes.plot([0, most], [0, most], color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
        axes.set(xlim=(0, most), ylim=(0, most), xlabel="width in px", ylabel="height in px")
        axes.set_aspect("equal")
        light_grid(axes, "y")
        return inline_svg(figure, name, "Width and height of the images")


def patients_plot(shared: Shared, name: str, what: str) -> Markup | None:
    """How many rows patients have, by split, as shares of the patients."""
    per_split = {split: np.array(list(shared.patients[split].values())) for split in shared.splits}
    if not per_split or all(rows.max() == 1 for rows in per_split.values()):
        return None
    most = int(min(20, max(np.quantile(rows, 0.99) for rows in per_split.values()) + 1))
    with styled():
        figure = new_figure(2.6, 4.2)
        axes = figure.subplots()
        edges = np.arange(0.5, most + 1.5)
        for split, rows in per_split.items():
            heights, _ = np.histogram(np.minimum(rows, most), bins=edges)
            axes.stairs(heights / len(rows), edges, color=_color(split), linewidth=1.5, label=split)
        axes.set_xlabel(f"{what} per patient ({most}: as many or more)")
        axes.set_ylabel("share of patients")
        light_grid(axes, "y")
        _percent(axes, "y")
        axes.legend(handlelength=1.4)
        return inline_svg(figure, name, f"{what} per patient".capitalize())


def parts_plot(stats: QuestionStats, name: str) -> Markup | None:
    """Questions by task and part, the splits one after the other; the most frequent parts alone."""
    totals: dict[str, dict[str, int]] = {}
    for (task, part, _), counts in stats.parts.items():
        row = totals.setdefault(f"{task}: {part}" if part != task else task, {})
        for split, n in counts.questions.items():
            row[split] = row.get(split, 0) + n
    shown = sorted(totals, key=lambda part: -sum(totals[part].values()))[:_BARS]
    if not shown:
        return None
    with styled():
        figure = new_figure(0.24 * len(shown) + 0.9)
        axes = figure.subplots()
        left = np.zeros(len(shown))
        for split in stats.shared.splits:
            widths = np.array([totals[part].get(split, 0) for part in shown])
            axes.barh(range(len(shown)), widths, left=left, color=_color(split), height=0.68, label=split)
            left += widths
        _rows(axes, shown)
        axes.set_xlabel("questions")
        axes.legend(loc="lower right")
        return inline_svg(figure, name, "Questions by part and split")


def _dots(rows: Mapping[str, Mapping[str, float]], name: str, label: str, description: str) -> Markup:
    splits = list(dict.fromkeys(split for row in rows.values() for split in row))
    with styled():
        figure = new_figure(0.24 * len(rows) + 0.8)
        axes = figure.subplots()
        for y, row in enumerate(rows.values()):
            axes.plot([0, max(row.values(), default=0)], [y, y], color="#d9dee4", linewidth=2.5, zorder=1)
        for split in splits:
            xs = [row.get(split, 0.0) for row in rows.values()]
            axes.scatter(
                xs,
                range(len(rows)),
                color=_color(split),
                s=26,
                zorder=2,
                label=split or None,
                linewidths=0,
                clip_on=False,
            )
        _rows(axes, list(rows))
        axes.set_xlim(left=0)
        axes.set_xlabel(label)
        _percent(axes, "x")
        if splits != [""]:
            figure.legend(loc="outside upper right", ncols=len(splits))
        return inline_svg(figure, name, description)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [name if len(name) <= 44 else f"{name[:42]}..." for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    light_grid(axes, "x")


def _percent(axes: Axes, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _color(split: str) -> str:
    return COLORS.get(split, MUTED if split else COLORS["sft"])
