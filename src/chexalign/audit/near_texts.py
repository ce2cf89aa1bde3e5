"""Texts that are nearly the same, found without comparing all pairs: MinHash in bands, then the exact share.

Source: Broder 1997, "On the resemblance and containment of documents".
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
else:
    Array = Any

THRESHOLD = 0.8  # share of common runs of three words, of all that either text has; one changed word of 60 leaves 0.9
_RUN = 3
_BANDS, _ROWS = 16, 6  # two texts at the threshold meet in a band with a probability above 0.99
_PRIME = (1 << 31) - 1


def shingles(words: Sequence[str]) -> Array:
    """The runs of three words of a text as sorted numbers below 2^31, uint64, each once."""
    import numpy as np

    runs = {" ".join(words[i : i + _RUN]) for i in range(max(1, len(words) - _RUN + 1))}
    return np.array(sorted(zlib.crc32(run.encode(errors="surrogatepass")) % _PRIME for run in runs), dtype=np.uint64)


def near_identical(texts: Sequence[Array], *, threshold: float = THRESHOLD) -> list[tuple[int, int, float]]:
    """Pairs of texts, given by their shingles, whose Jaccard index reaches the threshold, with it, highest first."""
    found = []
    for i, j in sorted(set(_met(texts))):
        share = jaccard(texts[i], texts[j])
        if share >= threshold:
            found.append((i, j, share))
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))


def jaccard(first: Array, second: Array) -> float:
    """Common shingles as a share of all that either text has."""
    import numpy as np

    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / max(1, len(first) + len(second) - common)


def _met(texts: Sequence[Array]) -> Iterator[tuple[int, int]]:
    """Pairs that agree in all rows of some band."""
    bands: list[defaultdict[bytes, list[int]]] = [defaultdict(list) for _ in range(_BANDS)]
    for index, least in enumerate(_min_hashes(texts)):
        for band, rows in zip(bands, least.reshape(_BANDS, _ROWS), strict=True):
            band[rows.tobytes()].append(index)
    for band in bands:
        for members in band.values():
            yield from combinations(members, 2)


def _min_hashes(texts: Sequence[Array]) -> Iterator[Array]:
    import numpy as np

    rng = np.random.default_rng(_PRIME)
    factor, shift = (rng.integers(1, _PRIME, (_BANDS * _ROWS, 1), dtype=np.uint64) for _ in range(2))
    for numbers in texts:
        yield ((factor * numbers + shift) % np.uint64(_PRIME)).min(axis=1)
