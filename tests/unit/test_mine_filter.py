"""Fast products are within their bounds, and the search over them is exact, on galleries made to mislead it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chexalign.mine.search import exact
from chexalign.mine.search.distance import Measure
from chexalign.mine.search.filter import Filter
from chexalign.mine.search.retrieve import search
from chexalign.mine.vectors.features import FeatureSet, Items, in_memory
from tests.unit.test_mine_retrieve import check, expected, gallery

FORMATS = (torch.float32, torch.bfloat16)
WEIGHTS = st.dictionaries(
    st.sampled_from(("question", "rationale", "image", "findings")),
    st.floats(-2, 2).filter(lambda w: abs(w) > 1e-3),
    min_size=1,
)


def products_of(measure, near, less_than):
    """Products with all rows of the gallery, what they are less by, and how far off they can be."""
    n = len(measure.gallery)
    block, error = near.rows(0, n, np.ones(n, dtype=bool), near.room(n))
    less = near.aim(less_than)
    return (near.queries @ block.T).double().numpy(), less, error


@settings(max_examples=40, deadline=None)
@given(
    weights=WEIGHTS,
    dtype=st.sampled_from(FORMATS),
    width=st.integers(1, 40),
    number=st.floats(-30, 30),
    seed=st.integers(0, 99),
)
def test_products_are_within_the_bound_of_their_format(weights, dtype, width, number, seed):
    others = gallery(40, width=width, seed=seed)
    if "question" in weights:
        others.features["question"].source[seed % 40] = 0
    measure = Measure(others.take(range(12)), others, weights)
    queries = measure.queries()
    near = Filter(measure, queries, dtype)
    wanted = np.maximum(near.least, np.minimum(number, -near.least))
    products, less, error = products_of(measure, near, wanted)
    seeds, rows = (axis.ravel() for axis in np.indices((12, 40)))
    exactly = measure.exact(queries, seeds, rows).reshape(12, 40)
    assert (less <= wanted).all()
    np.testing.assert_allclose(less, wanted, atol=1e-5)
    assert (np.abs(products + less[:, None] - exactly) <= error[:, None] + near.relative * np.abs(products)).all()
    assert (exactly > near.least[:, None]).all()
    nearly = measure.near(queries, seeds, rows).reshape(12, 40)
    assert (np.abs(nearly - exactly) <= measure.error(queries)[:, None]).all()


def test_a_product_is_rounded_to_eight_bits():
    """Vectors that lose nothing in bfloat16, and products of almost half of its step away from a number it holds."""
    names = ("a", "b", "c", "d")
    features = {"question": in_memory("question", np.eye(4), model="m")}
    measure = Measure(*2 * [FeatureSet(Items(names, names), features)], {"question": 1.0})
    near = Filter(measure, measure.queries(), torch.bfloat16)
    products, less, error = products_of(measure, near, np.full(4, -4.0155))
    off = np.abs(products + less[:, None] - np.eye(4))
    assert off.max() > 0.0154
    assert (off <= error[:, None] + near.relative * np.abs(products)).all()


@settings(max_examples=60, deadline=None)
@given(
    weights=WEIGHTS,
    dtype=st.sampled_from(FORMATS),
    k=st.sampled_from((1, 3, 40)),
    rows=st.integers(1, 70),
    seeds_at_once=st.integers(1, 12),
    many=st.sampled_from((10, 100_000)),
    order=st.sampled_from(("as it is", "nearest last", "nearest first", "twice")),
    seed=st.integers(0, 99),
)
def test_the_nearest_are_those_of_the_dense_loop(weights, dtype, k, rows, seeds_at_once, many, order, seed):
    others = gallery(120, width=6, seed=seed, templates=seed % 7)
    seeds = others.take(range(0, 120, 11))
    nearest = expected(seeds, others, weights, 119)[0][0]
    if order != "as it is":
        others = others.take(
            {
                "nearest first": list(nearest),
                "nearest last": list(nearest[::-1]),
                "twice": [*nearest[:60], *nearest[:60]],
            }[order]
        )
        others = FeatureSet(Items(tuple(f"o{i}" for i in range(len(others))), others.items.patients), others.features)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "fastest", lambda n, width: dtype)
        patch.setattr(exact, "_FEWEST_ROWS", rows)
        patch.setattr(exact, "_SEEDS_AT_ONCE", seeds_at_once)
        patch.setattr(exact, "_MANY", many)
        patch.setattr(exact, "_MANY_PER_NEIGHBOR", 2)
        found = search(seeds, others, weights, k=k, memory_mb=0)
    check(found, expected(seeds, others, weights, k))


def test_exact_products_warn_of_nothing():
    others = gallery(30)
    measure = Measure(others.take(range(2)), others, {"question": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure.exact(measure.queries(), np.array([0, 1, 1]), np.array([4, 4, 7]))
