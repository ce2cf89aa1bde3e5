"""Perceptual hashes of images: near for copies of one image, far for images of two patients.

Chest radiographs look alike: with the usual 64 bits, two patients can have the same hash. So an image has two:

- `coarse`, the 64-bit pHash: which of the 8 x 8 lowest frequencies of the discrete cosine transform lie above their
  median. It finds candidates quickly.
- `signs` and `strong`, 1,024 bits each: the signs of the 32 x 32 lowest frequencies, and which of them are strong
  enough (the upper 70% by magnitude) to keep their sign in a copy. They decide.

The transform is that of the 64 x 64 image with its grays equalized: brightness, contrast and gamma change little of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

VERSION = 1  # of the hashes: stored ones of another version are made anew
SIDE, COARSE_SIDE, FINE_SIDE = 64, 8, 32
_WEAK = 0.3  # share of the frequencies whose sign is not compared
_BLUR = 16  # gray levels
_FLAT = 1.0  # gray levels between the darkest and the brightest part of an image with nothing in it


@dataclass(frozen=True, slots=True)
class Signature:
    """The hashes of one image, as bytes: 8, 128 and 128 of them."""

    coarse: bytes
    signs: bytes
    strong: bytes


def signature(gray: Array) -> Signature | None:
    """The hashes of gray values `[height, width]`; None for an image of a single gray, which has none."""
    import numpy as np
    from scipy.fft import dctn

    small = _shrunk(gray)
    if np.ptp(small) < _FLAT:
        return None
    frequencies = dctn(_equalized(small), norm="ortho")
    low = frequencies[:COARSE_SIDE, :COARSE_SIDE].ravel()
    fine = frequencies[:FINE_SIDE, :FINE_SIDE].ravel()
    size = np.abs(fine)
    size[0] = 0.0  # the mean, which says nothing of what is seen
    return Signature(
        coarse=np.packbits(low > np.median(low[1:])).tobytes(),
        signs=np.packbits(fine > 0).tobytes(),
        strong=np.packbits(size > np.quantile(size, _WEAK)).tobytes(),
    )


def _shrunk(gray: Array) -> Array:
    """The image as SIDE x SIDE means of its areas, whatever its proportions."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(gray)
    if (factor := min(image.size) // (4 * SIDE)) > 1:
        image = image.reduce(factor)
    small = Image.fromarray(np.asarray(image, dtype=np.float32))
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)


def _equalized(values: Array) -> Array:
    """The share of the image that is darker than each value, from 0 to 1, all grays blurred by 16 levels.

    Without the blur, the noise of a JPEG in a black background would be stretched to what looks like structure.
    """
    import numpy as np

    counts, _ = np.histogram(values, bins=256, range=(0, 256))
    darker = np.cumsum(np.convolve(counts, np.full(_BLUR, 1 / _BLUR))) / values.size
    levels = np.arange(len(darker)) - _BLUR / 2 + 1
    shares: Array = np.interp(values, levels, darker)
    return shares
