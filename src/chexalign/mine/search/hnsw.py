"""The nearest items through a graph of the gallery (HNSW, of faiss): faster than looking at all, and not exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from chexalign.errors import UserError
from chexalign.mine.search.distance import DECIMALS, Floats, Measure, Rows
from chexalign.mine.search.exact import Barred, ranks

_LINKS, _BUILD, _SEARCH = 32, 128, 256  # links of each item; items looked at to add one, and to answer one seed
_ROWS_AT_ONCE = 16_384


class HnswIndex:
    """A graph of a gallery's items, linked to their nearest by the plain sum of distances.

    It is of the gallery alone: weights are those of the seeds that look through it. The links serve weights that are
    all alike best; with a negative one the nearest may lie where no link leads (docs/mining.md tells the recall).
    Memory: the gallery's vectors in float32, and some 300 bytes per item. Built with several threads, it is not the
    same graph twice.
    Raises: UserError where faiss is not installed.
    """

    def __init__(self, measure: Measure, barred: Barred, *, threads: int | None = None) -> None:
        self._faiss = _faiss()
        if threads:
            self._faiss.omp_set_num_threads(threads)
        self.rows = np.flatnonzero(~barred.rows)
        self.index: Any = self._faiss.IndexHNSWFlat(measure.width, _LINKS, self._faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = _BUILD
        out = torch.empty(_ROWS_AT_ONCE, measure.width)
        for start in range(0, len(measure.gallery), _ROWS_AT_ONCE):
            keep = ~barred.rows[start : start + _ROWS_AT_ONCE]
            if keep.any():
                self.index.add(measure.block(start, start + _ROWS_AT_ONCE, keep, out).numpy())

    def nearest(self, measure: Measure, k: int, barred: Barred) -> tuple[Rows, Floats]:
        """As `exact.nearest`: what the graph finds, put in order by distances in float64.

        Raises: UserError where it finds fewer than k for a seed.
        """
        queries, n = measure.queries(), len(measure.seeds)
        own = int(np.bincount(barred.pair_seeds, minlength=n).max(initial=0))
        wanted = min(k + own, len(self.rows))
        self.index.hnsw.efSearch = max(_SEARCH, 2 * wanted)
        _, found = self.index.search(queries.astype(np.float32), wanted)
        seeds = np.repeat(np.arange(n), wanted)[found.ravel() >= 0]
        rows = self.rows[found[found >= 0]]
        width = len(measure.gallery)
        free = ~np.isin(seeds * width + rows, barred.pair_seeds * width + barred.pair_rows)
        seeds, rows = seeds[free], rows[free]
        if (np.bincount(seeds, minlength=n) < k).any():
            raise UserError(
                f"The graph of the gallery leads some seed to fewer than {k} items.",
                "It looks at a part of the gallery only.",
                "Ask for fewer neighbors, or search exactly (index: exact).",
            )
        distances = np.round(measure.constant - measure.exact(queries, seeds, rows), DECIMALS)
        order = np.lexsort((rows, distances, seeds))
        kept = order[ranks(seeds[order]) < k]
        return rows[kept].reshape(n, k), distances[kept].reshape(n, k)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as e:
        raise UserError(
            "The index hnsw is asked for, and faiss is not installed.",
            "It is an optional extra: the exact search needs nothing.",
            "pip install 'chexalign[faiss]', or search exactly (index: exact).",
        ) from e
    return faiss
