"""The graph finds what the exact search finds on easy data, keeps the guards, and orders by exact distances."""

from __future__ import annotations

import numpy as np
import pytest

from chexalign.mine.search.retrieve import search
from chexalign.mine.vectors.features import FeatureSet
from chexalign.mine.vectors.variants import VARIANTS
from tests.unit.test_mine_retrieve import dense, gallery

pytest.importorskip("faiss")

ALIKE = {name: weights for name, weights in VARIANTS.items() if min(weights.values()) > 0}


@pytest.mark.parametrize("variant", ALIKE)
def test_the_graph_finds_the_nearest_of_a_small_gallery(variant):
    others = gallery()
    seeds = others.take(range(0, 900, 31))
    exact = search(seeds, others, variant, k=10)
    found = search(seeds, others, variant, k=10, index="hnsw", threads=1)
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(exact.rows, found.rows, strict=True)]
    assert np.mean(shared) > 0.97
    distances = np.round(dense(seeds, others, VARIANTS[variant]), 10)
    np.testing.assert_allclose(found.distances, np.take_along_axis(distances, found.rows, 1), atol=2e-10)
    assert (np.diff(found.distances, axis=1) >= 0).all()


def test_the_graph_keeps_the_guards():
    others = gallery()
    seeds = others.take(range(0, 60, 7))
    evaluated = {f"p{i}" for i in range(0, 300, 2)}
    found = search(seeds, others, "q+e", k=20, evaluated=evaluated, own="patient", index="hnsw", threads=1)
    for i, patient in enumerate(seeds.items.patients):
        returned = {others.items.patients[row] for row in found.rows[i]}
        assert not returned & (evaluated | {patient})


def test_a_gallery_of_one_modality():
    others = gallery(50)
    others = FeatureSet(others.items, {"image": others.features["image"]})
    found = search(others.take([3]), others, {"image": -1.0}, k=49, index="hnsw", threads=1)
    assert sorted(found.rows[0]) == sorted(set(range(50)) - {3})
