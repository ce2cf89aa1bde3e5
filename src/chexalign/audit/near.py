"""Images that look like copies of each other, found without comparing all pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

RADIUS = 7  # bits of the coarse hash in which candidates may differ
THRESHOLD = 0.02  # share of compared signs in which copies may differ; docs/data-check.md says what was measured
_BANDS, _BAND_BITS = 4, 16
_AT_ONCE = 1 << 21  # pairs in memory at a time
_LEAST_COMPARED = 256  # signs that must be strong in both images, of 1,024


@dataclass(frozen=True, slots=True)
class Signatures:
    """Hashes of N images: coarse `[N] uint64`, signs and strong `[N, 16] uint64`."""

    coarse: Array
    signs: Array
    strong: Array

    def __len__(self) -> int:
        return len(self.coarse)

    def take(self, at: Array) -> Signatures:
        """The hashes of some of the images."""
        return Signatures(self.coarse[at], self.signs[at], self.strong[at])

    def inverted(self) -> Signatures:
        """What the hashes of the images are, but for a bit or two, with black and white exchanged."""
        return Signatures(~self.coarse, ~self.signs, self.strong)


def signatures(coarse: Sequence[bytes], signs: Sequence[bytes], strong: Sequence[bytes]) -> Signatures:
    """The hashes as they are stored, as arrays."""
    import numpy as np

    def words(values: Sequence[bytes], n: int) -> Array:
        return np.frombuffer(b"".join(values), dtype=np.uint64).reshape(len(values), n)

    return Signatures(words(coarse, 1)[:, 0], words(signs, 16), words(strong, 16))


def near_pairs(left: Signatures, right: Signatures, *, threshold: float = THRESHOLD) -> list[tuple[int, int, float]]:
    """Pairs (index on the left, index on the right, share of signs that differ) up to the threshold, nearest first.

    Only pairs whose coarse hashes differ in at most RADIUS bits are looked at.
    """
    found = []
    for i, j in hamming_pairs(left.coarse, right.coarse):
        share = differing(left, right, i, j)
        near = share <= threshold
        found += list(zip(i[near].tolist(), j[near].tolist(), share[near].tolist(), strict=True))
    return sorted(found, key=lambda pair: (pair[2], pair[0], pair[1]))


def differing(left: Signatures, right: Signatures, i: Array, j: Array) -> Array:
    """The share of differing signs among those that are strong in both images of each pair; 1 where these are few."""
    import numpy as np

    both = left.strong[i] & right.strong[j]
    compared = np.bitwise_count(both).sum(axis=1)
    other = np.bitwise_count(both & (left.signs[i] ^ right.signs[j])).sum(axis=1)
    return np.where(compared < _LEAST_COMPARED, 1.0, other / np.maximum(compared, 1))


def hamming_pairs(left: Array, right: Array, *, radius: int = RADIUS) -> Iterator[tuple[Array, Array]]:
    """All pairs (indices on the left, on the right) of 64-bit numbers that differ in at most `radius` bits, each once.

    Of four bands of 16 bits at least one then differs in at most `radius // 4`, so the right side is looked up by band.
    They come in blocks. Cost for numbers that are spread evenly: N + M, times the few buckets that are looked into.
    """
    import numpy as np

    first, left_at = _groups(left)
    second, right_at = _groups(right)
    flips = _flips(radius // _BANDS)
    for band in range(_BANDS):
        keys = _band(second, band)
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange((1 << _BAND_BITS) + 1))
        for flip in flips:
            wanted = _band(first, band) ^ flip
            for i, j in _in_buckets(starts[wanted], starts[wanted + 1], order):
                keep = _is_first(first[i] ^ second[j], band, radius)
                if keep.any():
                    yield from _ungrouped(i[keep], j[keep], left_at, right_at)


def _band(numbers: Array, band: int) -> Array:
    import numpy as np

    return ((numbers >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)).astype(np.int64)


def _flips(most: int) -> list[int]:
    """The numbers of a band with at most so many bits set."""
    return [sum(1 << bit for bit in bits) for n in range(most + 1) for bits in combinations(range(_BAND_BITS), n)]


def _is_first(difference: Array, band: int, radius: int) -> Array:
    """Which pairs are near enough and were found in no band before this one."""
    import numpy as np

    keep = np.bitwise_count(difference) <= radius
    for earlier in range(band):
        keep &= np.bitwise_count(_band(difference, earlier)) > radius // _BANDS
    return keep


def _in_buckets(begin: Array, end: Array, order: Array) -> Iterator[tuple[Array, Array]]:
    """Pairs of each place of `begin` with the members of its bucket, in blocks."""
    import numpy as np

    sizes = end - begin
    places = np.flatnonzero(sizes)
    totals = np.cumsum(sizes[places])
    while len(places):
        n = max(1, int(np.searchsorted(totals, _AT_ONCE, side="right")))
        block, counts = places[:n], sizes[places[:n]]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.repeat(block, counts), order[np.repeat(begin[block], counts) + within]
        places, totals = places[n:], totals[n:] - totals[n - 1]


@dataclass(frozen=True, slots=True)
class _Members:
    """Which indices have each of the distinct numbers: those of number k are `at[starts[k] : starts[k + 1]]`."""

    at: Array
    starts: Array


def _groups(numbers: Array) -> tuple[Array, _Members]:
    """The distinct numbers, and who has them: equal hashes are looked up once."""
    import numpy as np

    distinct, inverse = np.unique(numbers, return_inverse=True)
    starts = np.concatenate([[0], np.cumsum(np.bincount(inverse, minlength=len(distinct)))])
    return distinct, _Members(np.argsort(inverse, kind="stable"), starts)


def _ungrouped(i: Array, j: Array, left: _Members, right: _Members) -> Iterator[tuple[Array, Array]]:
    """The pairs of distinct numbers as pairs of those who have them, in blocks."""
    import numpy as np

    begin, size = left.starts[i], left.starts[i + 1] - left.starts[i]
    for pairs, members in _in_buckets(begin, begin + size, left.at):
        other = j[pairs]
        for at, there in _in_buckets(right.starts[other], right.starts[other + 1], right.at):
            yield np.asarray(members)[at], there
