"""What every statistic is made of: the weights of resamples, checked columns, and their sums over clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indexes = npt.NDArray[np.intp]
Values = Sequence[float | None] | npt.NDArray[Any]


def bootstrap_weights(clusters: Sequence[str], *, resamples: int, seed: int) -> Floats:
    """How often each row stands in each resample, when clusters (studies or patients) are drawn with replacement.

    Returns `[resamples, n]`, whole numbers; rows of one cluster share a column's values. A resample draws as many
    clusters as there are, so its number of rows varies when clusters differ in size.
    Deterministic for the names in `clusters` and `seed`; the order of rows changes no cluster's weight.
    Memory is 8 * resamples * n bytes.
    """
    index, n_clusters = numbered(clusters)
    drawn = np.random.default_rng(seed).integers(0, max(n_clusters, 1), size=(resamples, n_clusters))
    drawn += np.arange(resamples)[:, None] * n_clusters
    counts = np.bincount(drawn.ravel(), minlength=resamples * n_clusters).reshape(resamples, n_clusters)
    return counts[:, index].astype(np.float64)


def numbered(clusters: Sequence[str]) -> tuple[Indexes, int]:
    """The number of each row's cluster, in the order of the names, and how many clusters there are."""
    names, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    return index, len(names)


def complete(n: int, *columns: Values) -> tuple[Bools, list[Floats]]:
    """Which rows have every value, and the columns `[n]` on those rows; None and NaN are missing.

    Raises: ValueError for a column that is not `[n]`, and for an infinite value.
    """
    arrays = [np.asarray(c, dtype=np.float64) for c in columns]  # None becomes NaN
    if any(a.shape != (n,) for a in arrays):
        raise ValueError(f"stats: values must be [{n}], one per cluster entry, not {[a.shape for a in arrays]}")
    if any(np.isinf(a).any() for a in arrays):
        raise ValueError("stats: a value is infinite")
    kept = ~np.any([np.isnan(a) for a in arrays], axis=0)
    return kept, [a[kept] for a in arrays]


def binary(n: int, *tables: npt.ArrayLike) -> tuple[Bools, list[Floats]]:
    """Which rows have every label, and the tables `[n, L]` on those rows as 0.0 and 1.0.

    Raises: ValueError for tables of other or different shapes, and for a label that is neither 0 nor 1.
    """
    arrays = [np.asarray(t, dtype=np.float64) for t in tables]
    if any(a.ndim != 2 or a.shape != arrays[0].shape or len(a) != n for a in arrays):
        raise ValueError(f"stats: labels must be [{n}, L] in truth and predictions, not {[a.shape for a in arrays]}")
    kept = ~np.any([np.isnan(a).any(axis=1) for a in arrays], axis=0)
    arrays = [a[kept] for a in arrays]
    if not all(np.isin(a, (0.0, 1.0)).all() for a in arrays):
        raise ValueError("stats: labels must be 0 or 1")
    return kept, arrays


def cluster_sums(columns: Floats, index: Indexes, n_clusters: int) -> Floats:
    """The sums of `columns: [n]` or `[n, K]` over the rows of each cluster, `[G]` or `[G, K]`."""
    if columns.ndim == 1:
        return np.bincount(index, weights=columns, minlength=n_clusters).astype(np.float64, copy=False)
    sums = [cluster_sums(column, index, n_clusters) for column in columns.T]
    return np.stack(sums, axis=1) if sums else np.zeros((n_clusters, 0))


def divide(top: Floats, bottom: Floats) -> Floats:
    """`top / bottom`, and NaN where `bottom` is not above 0."""
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
