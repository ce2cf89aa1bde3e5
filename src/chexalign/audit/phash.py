"""Perceptual hashes of images: near for copies of one image, far for images of two patients.

Chest radiographs look alike: with the usual 64 bits, two patients can have the same hash. So an image has two:

- `coarse`, the 64-bit pHash: which of the 8 x 8 lowest frequencies of the discrete cosine transform lie above their
  median. It finds candidates quickly.
- `signs` and `strong`, 1,024 bits each: the signs of the 32 x 32 lowest frequencies, and which of them are strong
  enough (the upper 70% by magnitude) to keep their sign in a copy. They decide.

The transform is that of the 64 x 64 image of gray ranks, so that brightness, contrast and gamma change little.
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
_FLAT = 1e-6


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

    ranks = _ranks(_shrunk(gray))
    if np.ptp(ranks) < _FLAT:
        return None
    frequencies = dctn(ranks, norm="ortho")
    low = frequencies[:COARSE_SIDE, :COARSE_SIDE].ravel()
    fine = frequencies[:FINE_SIDE, :FINE_SIDE].ravel()
    size = np.abs(fine)
    size[0] = 0.0  # the mean, which is the same for all ranks
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


def _ranks(values: Array) -> Array:
    """The rank of each value among all, from 0 to 1; equal values share the middle of theirs."""
    import numpy as np

    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - (counts + 1) / 2
    ranks: Array = (middles[places] / values.size).reshape(values.shape)
    return ranks
