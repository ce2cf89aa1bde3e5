"""From seeds and their neighbors to the mined set: which items, in which order, up to the quota of each type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chexalign.mine.search.retrieve import Neighbors
from chexalign.recipe.mine import Order


@dataclass(frozen=True, slots=True)
class Mined:
    """An item of the gallery that is to be learned from, and why: a seed itself (rank 0), or a seed's neighbor."""

    row: int
    seed: int  # its place among the seeds
    rank: int
    distance: float


def candidates(seed_rows: Sequence[int | None], neighbors: Neighbors, *, order: Order) -> list[Mined]:
    """The seeds in their order, and then every other item that was retrieved, once.

    `seed_rows` are the rows of the seeds in the gallery; None for a seed that is not to be learned from itself, as one
    of an evaluated patient must not be.

    `order` "rank" takes the first neighbor of every seed before the second of any, "distance" the nearest first
    whosever it is, which favors seeds whose surroundings are dense. An item that several seeds retrieve counts where
    it comes first; among equal ones the earlier seed has it.
    """
    rows, distances = neighbors.rows, neighbors.distances
    if len(seed_rows) != len(rows):
        raise ValueError(f"candidates: {len(seed_rows)} seeds, and neighbors of {len(rows)}")
    first: dict[int, Mined] = {}
    for seed, own in enumerate(seed_rows):
        if own is not None:
            first.setdefault(own, Mined(own, seed, 0, 0.0))
    seeds, ranks = (axis.ravel() for axis in np.indices(rows.shape))
    keys = (seeds, distances.ravel(), ranks) if order == "rank" else (ranks, seeds, distances.ravel())
    for place in np.lexsort(keys):
        row = int(rows.flat[place])
        if row not in first:
            rank, distance = int(ranks[place]) + 1, float(distances.flat[place])
            first[row] = Mined(row, int(seeds[place]), rank, distance)
    return list(first.values())


def take(found: Sequence[Mined], types: Sequence[str], quotas: Mapping[str, int]) -> list[Mined]:
    """The first candidates of each type up to its quota, in their order; `types` has one entry per gallery row."""
    taken, chosen = Counter[str](), []
    for item in found:
        kind = types[item.row]
        if taken[kind] < quotas.get(kind, 0):
            taken[kind] += 1
            chosen.append(item)
    return chosen


def count_types(found: Sequence[Mined], types: Sequence[str]) -> dict[str, int]:
    """How many candidates there are of each type."""
    return dict(sorted(Counter(types[item.row] for item in found).items()))
