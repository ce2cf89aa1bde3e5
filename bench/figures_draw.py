"""The pictures of README.md and docs/, drawn from the figures of results/demo.json."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from chexalign.present.svg import INK, MUTED, PolicyStyle, inline_svg, light_grid, new_figure, policy_styles, styled

Figures = Mapping[str, dict[str, Any]]

PANELS = {
    "micro_f1_13_vs_mesh": "Micro F1 against the MeSH codes",
    "bertscore": "BERTScore",
    "words": "Words per report",
}
_BOX, _GAP, _TALL, _ROW = 184, 28, 86, 118
_FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"


def demo_svg(figures: Figures, seeds: Sequence[int], arms: Sequence[str]) -> str:
    """Paired differences against SFT: a panel per metric, a row per arm and seed, intervals as lines."""
    styles = policy_styles(["sft", *arms])
    with styled():
        figure = new_figure(0.2 * len(seeds) * len(arms) + 1.1, 9.0)
        axes_row = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (metric, title) in zip(axes_row, PANELS.items(), strict=True):
            _panel(axes, figures, metric, seeds, styles, arms)
            axes.set_title(title)
            axes.set_xlabel("difference from SFT")
        handles = [
            Line2D([], [], color=styles[a].color, marker=styles[a].marker, linewidth=1.6, markersize=5, label=a)
            for a in arms
        ]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(arms), fontsize=8)
        text = str(inline_svg(figure, "demo", "Paired differences against SFT by arm and seed, with 90% intervals"))
    return _standing_alone(text)


def _panel(
    axes: Axes,
    figures: Figures,
    metric: str,
    seeds: Sequence[int],
    styles: Mapping[str, PolicyStyle],
    arms: Sequence[str],
) -> None:
    axes.axvline(0, color=INK, linewidth=0.9)
    places, labels, row = [], [], 0.0
    for arm in arms:
        for seed in seeds:
            found, look = figures[f"demo.seed{seed}.{metric}.delta.{arm}"], styles[arm]
            if found.get("low") is not None:
                axes.plot([found["low"], found["high"]], [row, row], color=look.color, linewidth=1.6)
            axes.plot([found["value"]], [row], color=look.color, marker=look.marker, markersize=5, linestyle="none")
            places.append(row)
            labels.append(f"seed {seed}")
            row += 1
        row += 0.7
    axes.set_yticks(places, labels)
    axes.set_ylim(row - 0.7 - 0.4, -0.6)
    axes.margins(x=0.1)
    light_grid(axes, "x")


def _standing_alone(inline: str) -> str:
    """An SVG element of a page as a file of its own, on white."""
    head, _, body = inline.partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    body = re.sub(r"[ \t]+$", "", body, flags=re.MULTILINE)
    return f'{head}><rect width="100%" height="100%" fill="white"/>{body}\n'


def pipeline_svg(figures: Figures) -> str:
    """What flows through the demo, with the number of rows of each table where it was measured."""
    boxes = _boxes(figures)
    per_row = len(boxes) // 2
    width, height = per_row * (_BOX + _GAP) - _GAP + 24, 2 * _ROW + 2
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' "
        f"role='img' aria-label='From reports to a comparison of policies' {_FONT}>",
        f"<rect width='{width}' height='{height}' fill='white'/>",
        f"<defs><marker id='tip' markerWidth='8' markerHeight='8' refX='6' refY='3' orient='auto'>"
        f"<path d='M0 0 6 3 0 6z' fill='{MUTED}'/></marker></defs>",
    ]
    for i, box in enumerate(boxes):
        x, y = 12 + (i % per_row) * (_BOX + _GAP), 12 + (i // per_row) * _ROW
        parts.append(_box(x, y, *box))
        if (i + 1) % per_row:
            parts.append(_arrow(f"M{x + _BOX} {y + _TALL / 2:g}h{_GAP - 3}"))
    turn, back = 12 + _TALL, per_row * (_BOX + _GAP) - _GAP - _BOX
    middle = 12 + _BOX // 2
    parts.append(_arrow(f"M{middle + back} {turn}v{(_ROW - _TALL) / 2:g}H{middle}v{(_ROW - _TALL) / 2 - 3:g}"))
    return "\n".join([*parts, "</svg>", ""])


def _boxes(figures: Figures) -> list[tuple[str, str, list[str]]]:
    """Title, count and two short lines of each box."""

    def n(*names: str) -> str:
        found = [figures.get(f"demo.counts.{name}") for name in names]
        return f"{sum(f['value'] for f in found if f):,}" if found and all(found) else ""

    def below(prefix: str) -> list[str]:
        return [key.removeprefix("demo.counts.") for key in figures if key.startswith(f"demo.counts.{prefix}.")]

    prompts = n("prompts")
    arms = [name.removeprefix("pairs.") for name in below("pairs")]
    return [
        ("reports", n("reports"), ["OpenI, with human", "MeSH codes"]),
        ("studies", n("studies"), ["in four splits, with", "a synthetic radiograph"]),
        ("SFT", n("split.sft"), ["studies train the tiny", "policy and its parts"]),
        ("candidates", n("candidates"), ["sampled for other", f"{prompts} studies".strip()]),
        ("scores", n(*below("scores")), ["by judges, against the", "radiologist's report"]),
        ("pairs", n(*below("pairs")), ["chosen and rejected,", "in three arms"]),
        ("DPO", n(*[f"policy.{arm}" for arm in arms]), ["pairs train one policy", "per arm"]),
        ("predictions", n(*below("predictions")), ["on unseen studies:", "intervals, report.html"]),
    ]


def _box(x: int, y: int, title: str, count: str, lines: list[str]) -> str:
    rows = [
        f"<rect x='{x}' y='{y}' width='{_BOX}' height='{_TALL}' rx='6' fill='#f5f7f9' stroke='#c3cad1'/>",
        f"<text x='{x + 12}' y='{y + 25}' font-size='14' font-weight='bold' fill='{INK}'>{escape(title)}</text>",
        f"<text x='{x + _BOX - 12}' y='{y + 25}' font-size='14' text-anchor='end' fill='#0072B2'>{count}</text>",
    ]
    for i, line in enumerate(lines):
        rows.append(f"<text x='{x + 12}' y='{y + 49 + 18 * i}' font-size='12' fill='{MUTED}'>{escape(line)}</text>")
    return "\n".join(rows)


def _arrow(path: str) -> str:
    return f"<path d='{path}' fill='none' stroke='{MUTED}' stroke-width='1.4' marker-end='url(#tip)'/>"
