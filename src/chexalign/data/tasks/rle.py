"""Run-length masks of the SIIM-ACR challenge: relative gaps and lengths that run down the columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from chexalign.data.tasks.boxes import Bounds

if TYPE_CHECKING:
    import numpy as np

    Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


def decode(runs: str, *, width: int, height: int) -> Mask | None:
    """The mask `[height, width]` of a text such as "3 2 5 1", or None where it is none.

    Each pair is a gap since the end of the run before, and a length. Pixels count down the first column, then down the
    second, and so on.

    >>> decode("1 2 1 1", width=2, height=3).astype(int).tolist()
    [[0, 0], [1, 1], [1, 0]]
    """
    import numpy as np

    words = runs.split()
    if not words or len(words) % 2 or not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        return None
    numbers = np.array(words, dtype=np.int64)
    ends = np.cumsum(numbers)[1::2]
    if ends[-1] > width * height or not numbers[1::2].all():
        return None
    flat = np.zeros(width * height, dtype=np.bool_)
    for end, length in zip(ends.tolist(), numbers[1::2].tolist(), strict=True):
        flat[end - length : end] = True
    return flat.reshape(width, height).T


def bounds(mask: Mask) -> Bounds:
    """The smallest box that holds a mask, in pixels; there must be a pixel in it."""
    import numpy as np

    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
