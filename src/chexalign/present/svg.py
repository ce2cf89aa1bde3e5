"""One look for every plot, and figures as SVG that can stand inside an HTML page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chexalign.present.data import BASELINE, CONTROL

INK, MUTED, RULE = "#1f2933", "#5b6672", "#d9dee4"
WIDTH_INCHES = 10.6  # at 96 px per inch a little less than the page, so type keeps its size
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "chexalign",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#edf0f3",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@dataclass(frozen=True, slots=True)
class PolicyStyle:
    """The color and the marker that a policy keeps through the whole report."""

    color: str
    marker: str
    hollow: bool = False

    @property
    def fill(self) -> str:
        """The color inside the marker."""
        return "white" if self.hollow else self.color


# Darkened from Okabe and Ito's colorblind-safe set, so that they also carry text on white.
_ARMS = (("#0072B2", "s"), ("#C65300", "D"), ("#A4508B", "^"), ("#007F5F", "v"), ("#8A6A00", "P"), ("#3E7CA8", "X"))


def policy_styles(policies: Sequence[str]) -> dict[str, PolicyStyle]:
    """A style for every policy, the control included: slate for the baseline, colors for the arms in order."""
    arms = [p for p in dict.fromkeys(policies) if p not in (BASELINE, CONTROL)]
    styles = {BASELINE: PolicyStyle("#4A5561", "o"), CONTROL: PolicyStyle("#4A5561", "o", hollow=True)}
    return styles | {arm: PolicyStyle(*_ARMS[i % len(_ARMS)]) for i, arm in enumerate(arms)}


def new_figure(height_inches: float, width_inches: float = WIDTH_INCHES) -> Figure:
    """An empty figure; make and fill it inside `styled()`."""
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    figure.get_layout_engine().set(hspace=0.06, h_pad=0.07)  # type: ignore[union-attr,call-arg]
    return figure


def styled() -> AbstractContextManager[Any]:
    """A context in which figures have the report's look."""
    return matplotlib.rc_context(_STYLE)  # type: ignore[arg-type]


def light_grid(axes: Axes, which: Literal["x", "y"]) -> None:
    """Hairlines across the axis that values are read on, and no frame beside it."""
    axes.grid(axis=which, linewidth=0.8)
    axes.spines["left" if which == "x" else "bottom"].set_visible(which != "x")


def inline_svg(figure: Figure, name: str, description: str) -> Markup:
    """The figure as an `<svg>` element with text as text; `name` keeps its ids apart from those of other figures."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    head, _, body = text.partition(">")
    box = re.search(r'viewBox="[^"]+"', head)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', body)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    open_tag = f'<svg {box.group() if box else ""} width="{width}" height="{height}" role="img" aria-label='
    return Markup(f'{open_tag}"{escape(description)}">{body.strip()}')
