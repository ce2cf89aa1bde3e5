"""Items that are like given ones, none of them of a patient who is evaluated."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from chexalign.errors import UserError
from chexalign.mine.search.distance import Floats, Measure, Rows
from chexalign.mine.search.exact import Barred, nearest
from chexalign.mine.vectors.features import FeatureSet, Items
from chexalign.mine.vectors.variants import Weights, weights_of
from chexalign.recipe.mine import Index, Own


@dataclass(frozen=True)
class Neighbors:
    """The rows of the gallery that are nearest to each seed, and their distances, both [seeds, k]; nearest first."""

    rows: Rows
    distances: Floats


def search(
    seeds: FeatureSet,
    gallery: FeatureSet,
    variant: str | Weights,
    *,
    k: int,
    evaluated: Collection[str] = (),
    own: Own = "item",
    index: Index = "exact",
    memory_mb: int = 1024,
    threads: int | None = None,
) -> Neighbors:
    """The k items of the gallery that are nearest to each seed.

    The distance is a weighted sum over modalities: cosine distance, or the share of flags that differ. Distances that
    agree to ten decimals are ties, and the lower row comes first, whatever the block size and the threads. An item is
    never its own neighbor; with `own` "patient" neither is any other item of the seed's patient. No item of an
    `evaluated` patient is returned, nor compared.

    `index` "hnsw" looks through a graph of the gallery in the place of all of it, which may miss some of the nearest;
    it needs faiss, and the gallery's vectors in memory.
    Raises: UserError for features that are missing, of another model or no numbers, for weights that are all zero, and
    where a seed has fewer than k items to choose from.
    """
    measure = Measure(seeds, gallery, weights_of(variant))
    barred = _barred(seeds.items, gallery.items, evaluated, own)
    _check_size(k, len(seeds), barred)
    if not len(seeds):
        return Neighbors(np.empty((0, k), np.intp), np.empty((0, k)))
    if index == "hnsw":
        from chexalign.mine.search.hnsw import HnswIndex

        return Neighbors(*HnswIndex(measure, barred, threads=threads).nearest(measure, k, barred))
    return Neighbors(*nearest(measure, k, barred, memory_mb=memory_mb, threads=threads))


def _barred(seeds: Items, gallery: Items, evaluated: Collection[str], own: Own) -> Barred:
    names, others = (seeds.ids, gallery.ids) if own == "item" else (seeds.patients, gallery.patients)
    wanted: dict[str, list[int]] = {}
    for seed, name in enumerate(names):
        wanted.setdefault(name, []).append(seed)
    pairs = [(row, seed) for row, name in enumerate(others) for seed in wanted.get(name, ())]
    rows, own_seeds = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    hidden = set(evaluated)
    return Barred(np.fromiter((p in hidden for p in gallery.patients), bool, len(gallery)), own_seeds, rows)


def _check_size(k: int, n_seeds: int, barred: Barred) -> None:
    if k < 1:
        raise UserError(f"{k} neighbors are asked for.", "There is nothing to look for.", "Ask for 1 or more.")
    own = np.bincount(barred.pair_seeds[~barred.rows[barred.pair_rows]], minlength=max(n_seeds, 1))
    most = int((~barred.rows).sum() - own.max())
    if n_seeds and k > most:
        raise UserError(
            f"{k} neighbors are asked for, and a seed has {most} items to choose from.",
            f"The gallery has {len(barred.rows)}, of which {int(barred.rows.sum())} belong to evaluated patients; "
            "what belongs to the seed itself does not count.",
            f"Ask for at most {most}, or give a larger gallery.",
        )
