"""Neighbors are those of a dense loop in float64, for every published variant, with ties, guards and bad input."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from chexalign.errors import UserError
from chexalign.mine.search.distance import Measure
from chexalign.mine.search.exact import ranks
from chexalign.mine.search.retrieve import search
from chexalign.mine.vectors.features import FeatureSet, Items, in_memory
from chexalign.mine.vectors.variants import VARIANTS, weights_of

N, WIDTH = 900, 24


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def filtered(request, monkeypatch):
    """Products in either format, whatever is fastest here."""
    monkeypatch.setattr("chexalign.mine.search.exact.fastest", lambda n, width: request.param)


def gallery(n=N, *, width=WIDTH, templates=0, seed=1):
    """Random features; with `templates` texts and findings are drawn from so many, so that most distances are ties."""
    rng = np.random.default_rng(seed)
    features = {}
    for name in ("question", "rationale", "image"):
        values = rng.standard_normal((n, width)).astype(np.float32)
        if templates and name != "image":
            values = values[rng.integers(0, templates, n)]
        features[name] = in_memory(name, values, model="m")
    flags = rng.integers(0, 2, (n, width))
    features["findings"] = in_memory(
        "findings", flags[rng.integers(0, templates, n)] if templates else flags, model="m", kind="flags"
    )
    return FeatureSet(Items(tuple(f"i{i}" for i in range(n)), tuple(f"p{i // 3}" for i in range(n))), features)


def dense(seeds, others, weights):
    """[seeds, gallery] float64: the published loop, cosine and Hamming distances added up one after the other."""
    total = np.zeros((len(seeds), len(others)))
    for name, weight in weights.items():
        a, b = (items.features[name].source for items in (seeds, others))
        if name == "findings":
            found = np.stack([np.mean(row != b, axis=1) for row in a])
        else:
            a, b = (v.astype(np.float64) for v in (a, b))
            a, b = (v / np.where((n := np.linalg.norm(v, axis=1, keepdims=True)) > 0, n, 1) for v in (a, b))
            found = np.clip(1 - a @ b.T, 0, 2)
        total += weight * found
    return total


def expected(seeds, others, weights, k, barred=()):
    """Rows and distances of the dense loop, lower rows first among equals; an item is not its own neighbor."""
    total = np.round(dense(seeds, others, weights), 10)
    for i, name in enumerate(seeds.items.ids):
        if name in others.items.ids:
            total[i, others.items.ids.index(name)] = np.inf
    total[:, list(barred)] = np.inf
    rows = np.argsort(total, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(total, rows, 1)


def check(found, wanted):
    np.testing.assert_array_equal(found.rows, wanted[0])
    np.testing.assert_allclose(found.distances, wanted[1], atol=2e-10)


@pytest.mark.parametrize("templates", [0, 5], ids=["distinct", "templates"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_neighbors_are_those_of_the_dense_loop(variant, templates, filtered):
    others = gallery(templates=templates)
    seeds = others.take(range(0, N, 31))
    for memory_mb in (1, 1024):  # many blocks, and one
        check(search(seeds, others, variant, k=20, memory_mb=memory_mb), expected(seeds, others, VARIANTS[variant], 20))


def test_weights_are_free_and_may_be_negative(filtered):
    others = gallery()
    weights = {"question": 0.3, "image": -1.7, "findings": 2.5}
    seeds = others.take(range(10))
    check(search(seeds, others, weights, k=7), expected(seeds, others, weights, 7))
    same = search(seeds, others, {**weights, "rationale": 0.0}, k=7)
    check(same, expected(seeds, others, weights, 7))


def test_ties_go_to_the_lower_row_however_many_there_are(monkeypatch, filtered):
    """The same vectors over and over, more of them in doubt than are let wait: they are thinned and settled."""
    monkeypatch.setattr("chexalign.mine.search.exact._MANY", 50)
    monkeypatch.setattr("chexalign.mine.search.exact._SEEDS_AT_ONCE", 4)
    others = gallery(2000, templates=2)
    seeds = others.take(range(9))
    for k in (1, 5, 300):
        check(search(seeds, others, "q+e", k=k, memory_mb=1), expected(seeds, others, VARIANTS["q+e"], k))


def test_near_ties_are_told_apart_by_float64(filtered):
    """Rows that differ by less than float32 can see, the nearest of them last."""
    rng = np.random.default_rng(3)
    base = rng.standard_normal(WIDTH)
    steps = np.linspace(2e-5, 1e-5, 400)[:, None] * rng.standard_normal(WIDTH)
    values = (base + steps).astype(np.float32)
    items = Items(tuple(map(str, range(400))), tuple(map(str, range(400))))
    others = FeatureSet(items, {"question": in_memory("question", values, model="m")})
    seeds = FeatureSet(Items(("s",), ("s",)), {"question": in_memory("question", base[None], model="m")})
    weights = {"question": 1.0}
    found = search(seeds, others, weights, k=30)
    check(found, expected(seeds, others, weights, 30))
    assert not np.array_equal(found.rows[0], np.arange(30))


def test_float16_files_and_vectors_without_direction(filtered):
    others = gallery(60)
    values = others.features["question"].source.copy()
    values[[3, 7]] = 0
    half = in_memory("question", values, model="m", dtype="float16")
    others = FeatureSet(others.items, {**others.features, "question": half})
    seeds = others.take([3, 20])
    found = search(seeds, others, {"question": 1.0}, k=59)
    check(found, expected(seeds, others, {"question": 1.0}, 59))
    assert set(found.distances[0]) == {1.0}  # nothing is nearer to a vector of zeros than anything else


@pytest.mark.parametrize("scale", [1e-38, 1e-35, 1e18, 1e38])
def test_the_length_of_a_vector_does_not_matter(scale):
    others = gallery(80, width=4)
    values = np.clip(others.features["question"].source, -3, 3)
    long = (values * np.float64(scale)).astype(np.float32)
    found = []
    for own in (values, long):
        own = FeatureSet(others.items, {"question": in_memory("question", own, model="m")})
        found.append(search(own.take(range(9)), own, {"question": 1.0}, k=3).rows)
    assert np.array_equal(*found) or scale == 1e-38  # where float32 itself has few digits left


def test_no_neighbor_is_of_an_evaluated_patient(filtered):
    others = gallery(templates=4)
    seeds = others.take(range(0, 60, 7))
    evaluated = {f"p{i}" for i in range(0, 300, 2)} | {"p-unknown"}
    rows = [i for i, patient in enumerate(others.items.patients) if patient in evaluated]
    for memory_mb in (1, 1024):
        found = search(seeds, others, "q+e+d+v", k=40, evaluated=evaluated, memory_mb=memory_mb)
        assert not {others.items.patients[i] for i in found.rows.ravel()} & evaluated
        check(found, expected(seeds, others, VARIANTS["q+e+d+v"], 40, barred=rows))


def test_own_items_are_no_neighbors(filtered):
    others = gallery()
    seeds = others.take([5, 6, 100])
    found = search(seeds, others, "q+v", k=N - 1)
    for i, row in enumerate((5, 6, 100)):
        assert sorted(found.rows[i]) == sorted(set(range(N)) - {row})
    found = search(seeds, others, "q+v", k=N - 3, own="patient")
    for i, patient in enumerate(seeds.items.patients):
        assert patient not in {others.items.patients[row] for row in found.rows[i]}


def test_threads_and_blocks_change_nothing():
    others = gallery(templates=6)
    seeds = others.take(range(40))
    before = torch.get_num_threads()
    first = search(seeds, others, "q+e-v", k=9, threads=1)
    for memory_mb, threads in ((1, 2), (2, 1), (4096, 2)):
        again = search(seeds, others, "q+e-v", k=9, memory_mb=memory_mb, threads=threads)
        np.testing.assert_array_equal(first.rows, again.rows)
        np.testing.assert_array_equal(first.distances, again.distances)
    assert torch.get_num_threads() == before


def test_products_are_as_exact_as_the_bound_says():
    others = gallery(templates=3)
    measure = Measure(others.take(range(30)), others, VARIANTS["q+e-v"])
    queries, keep = measure.queries(), np.ones(N, dtype=bool)
    block = measure.block(0, N, keep, torch.empty(N, measure.width))
    products = torch.from_numpy(queries.astype(np.float32)) @ block.T
    seeds, rows = (axis.ravel() for axis in np.indices((30, N)))
    exact = measure.exact(queries, seeds, rows).reshape(30, N)
    np.testing.assert_allclose(measure.constant - exact, dense(measure.seeds, others, VARIANTS["q+e-v"]), atol=1e-12)
    assert (np.abs(products.numpy() - exact) <= measure.error(queries)[:, None]).all()
    assert (measure.error(queries) < 1e-4).all()


def test_a_faster_precision_is_found_out(monkeypatch):
    """Products as a machine makes them that multiplies in bfloat16, unasked."""
    exact = torch.mm

    def faster(a, b, *, out):
        return out.copy_(exact(a.bfloat16().float(), b.bfloat16().float()))

    monkeypatch.setattr(torch, "mm", faster)
    others = gallery()
    with pytest.raises(RuntimeError, match="less exact"):
        search(others.take(range(30)), others, "q+e", k=5)


def test_nothing_to_look_for_finds_nothing():
    others = gallery(30)
    found = search(others.take([]), others, "q+e", k=3)
    assert found.rows.shape == found.distances.shape == (0, 3)


def test_ranks_count_within_runs():
    assert ranks(np.array([2, 2, 5, 5, 5, 9])).tolist() == [0, 1, 0, 1, 2, 0]
    assert ranks(np.array([], dtype=np.intp)).tolist() == []


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("q+x", "no variant"),
        ({}, "zero"),
        ({"image": 0.0, "question": -0.0}, "zero"),
        ({"sound": 1.0}, "'sound'"),
        ({"image": float("nan")}, "image"),
        ({"image": float("inf")}, "image"),
    ],
)
def test_weights_that_make_no_distance(variant, message):
    with pytest.raises(UserError, match=message):
        weights_of(variant)


@pytest.mark.parametrize(
    ("k", "evaluated", "own"), [(0, (), "item"), (30, (), "item"), (28, {"p0"}, "item"), (28, (), "patient")]
)
def test_more_neighbors_than_there_are(k, evaluated, own):
    others = gallery(30)
    with pytest.raises(UserError, match="neighbors are asked for"):
        search(others.take([4]), others, "q+e", k=k, evaluated=evaluated, own=own)


def test_a_gallery_without_features_or_with_those_of_another_model():
    others = gallery(30)
    seeds = others.take([1])
    lacking = FeatureSet(others.items, {"question": others.features["question"]})
    with pytest.raises(UserError, match="no rationale features of the gallery"):
        search(seeds, lacking, "q+e", k=1)
    with pytest.raises(UserError, match="no rationale features of the seeds"):
        search(lacking, others, "q+e", k=1)
    values = others.features["question"].source
    for model, columns in (("other", values), ("m", values[:, :5])):
        other = {**others.features, "question": in_memory("question", columns, model=model)}
        with pytest.raises(UserError, match="different models"):
            search(seeds, FeatureSet(others.items, other), "q+e", k=1)


def test_features_that_became_nan_after_they_were_written():
    others = gallery(30)
    for i in (1, 9):  # of a seed, and of the gallery alone
        broken = gallery(30)
        broken.features["question"].source[i, 0] = np.nan
        with pytest.raises(UserError, match="no finite number"):
            search(broken.take([1]) if i == 1 else others.take([1]), broken, "q+e", k=1)


def test_the_graph_needs_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    others = gallery(30)
    with pytest.raises(UserError, match="faiss"):
        search(others.take([1]), others, "q+e", k=1, index="hnsw")
