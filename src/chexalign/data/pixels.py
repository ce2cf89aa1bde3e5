"""Pixels of any depth as the 8-bit grayscale PNG that everything after the studies reads."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

WHITE = 255
_PNG_LEVEL = 1  # of zlib; noise fills a radiograph, and higher levels take much longer to save a few percent


def gray_png(gray: Array) -> bytes:
    """The bytes of a PNG of gray values `[height, width] uint8`; equal pixels give equal bytes."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(gray).save(buffer, format="PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()


def scaled(values: Array, low: float, high: float) -> Array:
    """Gray values, uint8, with `low` black and `high` white; what lies outside is clipped, and no number is black.

    All is black where `high` is not above `low`.
    """
    import numpy as np

    if not high > low:
        return np.zeros(values.shape, np.uint8)
    fraction = (values.astype(np.float64) - low) / (high - low)
    return np.rint(np.clip(np.nan_to_num(fraction, nan=0.0), 0.0, 1.0) * WHITE).astype(np.uint8)


def by_value(values: Array, gray: Callable[[Array], Array]) -> Array:
    """`gray(values)`, computed once per value that 16 bits can hold, and not once per pixel.

    `gray` says what becomes of each value by itself. Cost for integers of up to 16 bits: one table and one look-up.
    """
    import numpy as np

    if values.dtype.kind not in "iu" or values.dtype.itemsize > 2 or not values.size:
        return gray(values)
    first, last = int(values.min()), int(values.max())
    return gray(np.arange(first, last + 1))[values.astype(np.int32) - first]


def to_8_bit(values: Array) -> Array:
    """Values of any type as gray values over their own range, not over that of their type.

    12-bit pixels in a 16-bit file are common, and the file does not say so: over the range of the file they would come
    out in 16 shades of black.
    """
    import numpy as np

    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return np.zeros(values.shape, np.uint8)
    low, high = float(finite.min()), float(finite.max())
    return by_value(values, lambda some: scaled(some, low, high))


def to_gray(image: Image.Image) -> Array:
    """The gray values of an open image of any mode, `[height, width] uint8`, turned as its EXIF data says.

    Colors become their luma (ITU-R 601), what is transparent shows black, more than 8 bits are scaled by their range.
    """
    import numpy as np
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        return to_8_bit(np.asarray(upright))
    if upright.has_transparency_data:
        seen = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", seen.size, (0, 0, 0, WHITE)), seen)
    elif upright.mode in ("P", "CMYK"):
        upright = upright.convert("RGB")
    return np.asarray(upright.convert("L"))
