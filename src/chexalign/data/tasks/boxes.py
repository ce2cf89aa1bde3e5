"""Boxes in pixels: reading them, how far they overlap, and one box for what several readers drew."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

Bounds = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

SAME_PLACE = 0.3  # two readers' boxes that overlap more (intersection over union) are one finding


@dataclass(frozen=True, slots=True)
class ReadBox:
    """A box as one reader drew it."""

    bounds: Bounds
    reader: str


@dataclass(frozen=True, slots=True)
class MergedBox:
    """What several boxes have in the middle, and how many readers drew one of them."""

    bounds: Bounds
    votes: int


def read_bounds(values: Sequence[str], *, frame: tuple[int, int] | None = None) -> Bounds | None:
    """Left, top, right and bottom from four cells, or None where they are no box that shows on the frame."""
    try:
        left, top, right, bottom = (float(value) for value in values)
    except ValueError:
        return None
    if not all(map(math.isfinite, (left, top, right, bottom))) or not (left < right and top < bottom):
        return None
    width, height = frame or (math.inf, math.inf)
    return (left, top, right, bottom) if right > 0 and bottom > 0 and left < width and top < height else None


def read_corner_and_size(values: Sequence[str], *, frame: tuple[int, int] | None = None) -> Bounds | None:
    """The same from cells of left, top, width and height."""
    try:
        left, top, width, height = (float(value) for value in values)
    except ValueError:
        return None
    return read_bounds([str(side) for side in (left, top, left + width, top + height)], frame=frame)


def overlap(one: Bounds, other: Bounds) -> float:
    """Intersection over union, from 0 to 1.

    >>> overlap((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    if across <= 0 or down <= 0:
        return 0.0
    shared = across * down
    return shared / (_area(one) + _area(other) - shared)


def merge(boxes: Sequence[ReadBox], *, least: float = SAME_PLACE) -> list[MergedBox]:
    """One box for each place, whatever the order of the boxes: those that overlap, directly or by others, are one.

    Its bounds are the means over readers of the means of each reader's bounds. Cost: O(n²) for n boxes of an image.
    """
    left = sorted(boxes, key=lambda box: (box.bounds, box.reader))
    merged = []
    while left:
        group, queue = [], [left.pop(0)]
        while queue:
            box = queue.pop()
            group.append(box)
            near = [other for other in left if overlap(box.bounds, other.bounds) > least]
            left = [other for other in left if other not in near]
            queue += near
        merged.append(_middle(group))
    return sorted(merged, key=lambda box: box.bounds)


def _middle(group: Sequence[ReadBox]) -> MergedBox:
    readers: dict[Hashable, list[Bounds]] = {}
    for box in sorted(group, key=lambda box: (box.reader, box.bounds)):
        readers.setdefault(box.reader, []).append(box.bounds)
    means = [tuple(math.fsum(side) / len(side) for side in zip(*own, strict=True)) for own in readers.values()]
    a, b, c, d = (math.fsum(side) / len(side) for side in zip(*means, strict=True))
    return MergedBox((a, b, c, d), len(readers))


def _area(box: Bounds) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
