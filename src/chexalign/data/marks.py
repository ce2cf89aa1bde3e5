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
_MARGIN = 2 / 128  # of the image's size, between what is marked and a box around it
_REACH = 0.17  # the length of an arrow, in image sizes
_HEAD = 0.045


def marked(image: Image.Image, bounds: Bounds, mark: Mark, *, mask: np.ndarray | None = None) -> Image.Image:
    """A gray copy of the image with a mark, white on a dark edge so that it shows on bright and dark tissue.

    An arrow comes from the side of the image's middle and ends in the middle of the bounds. A contour follows `mask`,
    a boolean array [height, width]; without one it is the ellipse that the bounds hold.
    """
    from PIL import ImageDraw

    shown = image.convert("L")
    draw = ImageDraw.Draw(shown)
    line = max(1, round(max(shown.size) / 128))
    for color, width in ((_DARK, line + 2), (_BRIGHT, line)):
        if mark == "arrow":
            _arrow(draw, shown.size, bounds, color, width)
        elif mark == "box":
            _box(draw, shown.size, bounds, color, width, line)
        elif mask is None:
            draw.ellipse(bounds, outline=color, width=width)
        else:
            shown.paste(color, mask=_edge(mask, width))
            draw = ImageDraw.Draw(shown)
    return shown


def _box(draw: ImageDraw.ImageDraw, size: tuple[int, int], bounds: Bounds, color: int, width: int, line: int) -> None:
    """The bright line lies in the middle of the dark one; what would lie outside the image is moved to its edge."""
    away = _MARGIN * max(size) + (width - line) / 2
    left, right = (min(max(at, 0), size[0] - 1) for at in (bounds[0] - away, bounds[2] + away - 1))
    top, bottom = (min(max(at, 0), size[1] - 1) for at in (bounds[1] - away, bounds[3] + away - 1))
    draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=color, width=width)


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


def _edge(mask: np.ndarray, width: int) -> Image.Image:
    """The ring around a mask, so wide."""
    import numpy as np
    from PIL import Image
    from scipy.ndimage import binary_dilation

    inner = binary_dilation(mask, iterations=2)
    outer = binary_dilation(inner, iterations=width)
    if width > 1:  # the dark edge goes inward too, or the bright line would cover half of it
        inner = mask
    return Image.fromarray(np.where(outer & ~inner, 255, 0).astype(np.uint8))
