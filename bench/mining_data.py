"""Galleries of random features for bench/mining.py, and the published tool's search over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chexalign.mine.vectors.features import FeatureSet, Items, open_features, write_features
from chexalign.mine.vectors.variants import MODALITIES

WIDTH = 512
VECTORS = tuple(name for name in MODALITIES if name != "findings")
PER_CLUSTER = 250
_BLOCK = 8192
Floats = npt.NDArray[np.float64]


def items_of(n: int, prefix: str = "g") -> Items:
    """n items, four of each patient."""
    return Items(tuple(f"{prefix}{i}" for i in range(n)), tuple(f"{prefix}p{i // 4}" for i in range(n)))


def make_gallery(
    folder: Path, n: int, *, kind: str, seed: int, prefix: str = "g", n_clusters: int | None = None
) -> FeatureSet:
    """Features of n items in files: "random" directions, or "clustered" around shared centers.

    Clusters have 250 items where their number is not given. A vector is its center plus noise of the same length, so
    that two of a cluster have a cosine of about one half; flags differ from those of the center one time in ten. With
    another prefix the items are others around the same centers.
    """
    items, clusters = items_of(n, prefix), n_clusters or max(1, n // PER_CLUSTER)
    for place, name in enumerate(MODALITIES):
        blocks = _blocks(n, name == "findings", kind, (seed, ord(prefix)), place, clusters)
        write_features(folder, name, blocks, items=items, model="m", kind="flags" if name == "findings" else "vector")
    return open_features(folder, items)


def _blocks(
    n: int, flags: bool, kind: str, seed: tuple[int, int], place: int, n_clusters: int
) -> Iterator[npt.NDArray[np.generic]]:
    """The rows of one modality; which cluster an item is of is the same in all of them."""
    centers_of, noise = np.random.default_rng(seed), np.random.default_rng((*seed, place))
    centers = np.random.default_rng((seed[0], place)).standard_normal((n_clusters, WIDTH), dtype=np.float32)
    for start in range(0, n, _BLOCK):
        rows = min(_BLOCK, n - start)
        own = centers_of.integers(0, n_clusters, rows)
        values = noise.standard_normal((rows, WIDTH), dtype=np.float32)
        if flags:
            other = np.abs(values) > 1.645  # one in ten
            yield ((centers[own] > 0) ^ other if kind == "clustered" else values > 0).astype(np.uint8)
        else:
            yield values + centers[own] if kind == "clustered" else values


def published_search(
    seeds: FeatureSet, gallery: FeatureSet, weights: Mapping[str, float], *, k: int, dtype: str = "float32"
) -> tuple[npt.NDArray[np.intp], Floats]:
    """Neighbors as the published tool finds them: a table of distances per modality, added up, each row sorted whole.

    Cosine distances come from one product (as scikit-learn's: unit vectors, 1 - product, clipped to 0 and 2) in the
    type of the features, Hamming distances from a loop over seeds, the sum is float64.
    """
    total = np.zeros((len(seeds), len(gallery)))
    for name, weight in weights.items():
        a, b = (np.asarray(items.features[name].block(0, len(items))) for items in (seeds, gallery))
        total += weight * (_hamming(a, b) if name == "findings" else _cosine(a.astype(dtype), b.astype(dtype)))
    if dtype == "float64":  # the table that others are compared with: ties in the order of rows
        total = np.round(total, 10)
        rows = np.argsort(total, axis=1, kind="stable")[:, :k]
    else:
        rows = np.stack([np.argsort(row)[:k] for row in total])
    return rows, np.take_along_axis(total, rows, 1)


def _cosine(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    product = a @ b.T
    product *= -1
    product += 1
    return np.clip(product, 0, 2, out=product)


def _hamming(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> Floats:
    a, b = a.astype(bool), b.astype(bool)
    found = np.zeros((len(a), len(b)))
    for i, row in enumerate(a):
        found[i] = np.mean(row != b, axis=1)
    return found
