"""Marks that point at a place on an image: a box, an arrow or the outline of what is there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageDraw

Mark = Literal["box", "arrow", "contour"]
Bounds = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

MARKS: tuple[Mark, ...] = ("box", "arrow", "contour")

_BRIGHT, _DARK = 255, 0
_LINE = 1 / 128  # of the image's size, the width of the bright line; the dark one is three times as wide
_MARGIN = 2 / 128  # between what is marked and a mark around it
_REACH = 0.17  # the length of an arrow
_HEAD = 0.045


def marked(image: Image.Image, bounds: Bounds, mark: Mark, *, mask: np.ndarray | None = None) -> Image.Image:
    """A gray copy of the image with a mark, white on a dark edge so that it shows on bright and dark tissue.

    An arrow comes from the side of the image's middle and ends in the middle of the bounds. A contour follows `mask`,
    a boolean array [height, width]; without one it is an ellipse around the bounds. What would lie outside the image is
    moved to its edge.
    """
    from PIL import ImageDraw

    shown = image.convert("L")
    draw = ImageDraw.Draw(shown)
    line = max(1, round(_LINE * max(shown.size)))
    for color, width in ((_DARK, 3 * line), (_BRIGHT, line)):
        around = _around(shown.size, bounds, _MARGIN * max(shown.size) + (width - line) / 2)
        if mark == "arrow":
            _arrow(draw, shown.size, bounds, color, width)
        elif mark == "box":
            draw.rectangle(around, outline=color, width=width)
        elif mask is None:
            draw.ellipse(around, outline=color, width=width)
        else:
            shown.paste(color, mask=_edge(mask, line, dark=color == _DARK))
    return shown


def _around(size: tuple[int, int], bounds: Bounds, away: float) -> Bounds:
    """The corners of a mark so far around the bounds; the bright line lies in the middle of the dark one."""
    left, right = (min(max(at, 0), size[0] - 1) for at in (bounds[0] - away, bounds[2] + away - 1))
    top, bottom = (min(max(at, 0), size[1] - 1) for at in (bounds[1] - away, bounds[3] + away - 1))
    return left, top, max(left, right), max(top, bottom)


def _arrow(draw: ImageDraw.ImageDraw, size: tuple[int, int], bounds: Bounds, color: int, width: int) -> None:
    across, down = size
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    dx, dy = across / 2 - x, down / 2 - y
    far = math.hypot(dx, dy)
    dx, dy = (dx / far, dy / far) if far > 0.1 * across else (math.sqrt(0.5), math.sqrt(0.5))
    reach, head = _REACH * max(size), _HEAD * max(size)
    draw.line([(x + dx * reach, y + dy * reach), (x, y)], fill=color, width=width)
    for turn in (0.5, -0.5):
        cos, sin = math.cos(turn), math.sin(turn)
        wing = (x + head * (dx * cos - dy * sin), y + head * (dx * sin + dy * cos))
        draw.line([(x, y), wing], fill=color, width=width)


def _edge(mask: np.ndarray, line: int, *, dark: bool) -> Image.Image:
    """The ring around a mask: the bright one two lines away from it, the dark one on both sides of that."""
    import numpy as np
    from PIL import Image
    from scipy.ndimage import binary_dilation

    inner = mask if dark else binary_dilation(mask, iterations=2 * line)
    outer = binary_dilation(mask, iterations=(5 if dark else 3) * line)
    return Image.fromarray(np.where(outer & ~inner, 255, 0).astype(np.uint8))
