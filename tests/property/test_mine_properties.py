"""Properties of mining over many random inputs, malformed ones included."""

from __future__ import annotations

import math
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chexalign.errors import UserError
from chexalign.evaluate.answers import answer
from chexalign.evaluate.confidence import confidence
from chexalign.mine.expand import candidates, count_types, take
from chexalign.mine.quotas import apportion, quotas
from chexalign.mine.search.retrieve import Neighbors, search
from chexalign.mine.vectors.features import FeatureSet, Items, in_memory
from chexalign.mine.vectors.variants import MODALITIES, VARIANTS
from chexalign.policy.base import Completion
from tests.unit.test_confidence import CHOOSE, FREE, LISTED, OPEN, VERIFY
from tests.unit.test_mine_retrieve import check, expected

NUMBERS = st.floats(-4, 4, width=16)  # few digits, so that ties and vectors of zeros come up
NAMES = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 30), max_size=5)
PIECES = st.sampled_from(
    ["no", " No", " yes", ".", " left", "(B)", " B", "", " ", "é", "<answer>", "</answer>", " mass"]
)


@st.composite
def feature_sets(draw):
    n, width = draw(st.integers(2, 25)), draw(st.integers(1, 4))
    features = {
        name: in_memory(name, draw(arrays(np.float32, (n, width), elements=NUMBERS)), model="m")
        for name in MODALITIES
        if name != "findings"
    }
    flags = draw(arrays(np.uint8, (n, width), elements=st.integers(0, 1)))
    features["findings"] = in_memory("findings", flags, model="m", kind="flags")
    patients = draw(st.lists(st.sampled_from("pqrs"), min_size=n, max_size=n))
    return FeatureSet(Items(tuple(map(str, range(n))), tuple(patients)), features)


@given(
    feature_sets(),
    st.sampled_from(sorted(VARIANTS)) | st.dictionaries(st.sampled_from(MODALITIES), st.floats(-2, 2, width=16)),
    st.integers(1, 30),
    st.sets(st.sampled_from("pqrs"), max_size=3),
)
def test_search_is_the_dense_loop_or_says_why_not(others, variant, k, evaluated):
    seeds = others.take(range(0, len(others), 2))
    weights = VARIANTS[variant] if isinstance(variant, str) else variant
    barred = [i for i, patient in enumerate(others.items.patients) if patient in evaluated]
    fewest = min(len(others) - len({*barred, row}) for row in range(0, len(others), 2))
    if k > fewest or not any(weights.values()):
        with pytest.raises(UserError, match=r"zero|neighbors"):
            search(seeds, others, variant, k=k, evaluated=evaluated)
        return
    found = search(seeds, others, variant, k=k, evaluated=evaluated)
    check(found, expected(seeds, others, weights, k, barred))


@given(st.integers(0, 200), NAMES, NAMES, NAMES, st.sampled_from(["equal", "as_failed", "as_data"]))
def test_quotas_add_up_and_never_exceed_what_there_is(budget, available, failed, data, rule):
    try:
        found = quotas(rule, budget, available=available, failed=failed, data=data)
    except UserError:
        assert budget > sum(available.values())
        return
    assert sum(found.given.values()) == budget
    assert all(0 <= n <= available.get(name, 0) for name, n in found.given.items())
    assert sum(found.wanted.values()) == budget or not found.wanted
    for name, n in found.wanted.items():
        assert found.short.get(name, 0) == max(0, n - available.get(name, 0))
    if not found.short and all(available.get(name, 0) for name in found.wanted):
        assert found.given == found.wanted


@given(st.integers(0, 1000), st.dictionaries(st.text(max_size=2), st.integers(0, 50), min_size=1))
def test_largest_remainders_are_within_one_of_the_share(total, weights):
    whole = sum(weights.values())
    if whole == 0:
        return
    found = apportion(total, weights)
    assert sum(found.values()) == total
    assert all(abs(found[name] - total * weight / whole) < 1 for name, weight in weights.items())


@given(
    st.lists(PIECES | st.text(string.printable, max_size=4), max_size=9),
    st.sampled_from([VERIFY, CHOOSE, LISTED, FREE, OPEN]),
    st.lists(st.floats(-50, 0), min_size=9, max_size=9),
)
def test_any_output_has_a_span_of_its_own_tokens_or_none(texts, question, logps):
    logps = tuple(logps[: len(texts)])
    text = "".join(texts).strip()
    found = answer(question, "sft", 0, Completion(text, len(texts), sum(logps), "stop", logps, tuple(texts)))
    places = found.answer_tokens
    assert places is None or list(places) == sorted(set(places))
    assert places is None or all(texts[i] for i in places)
    assert text or found.right is None
    values = [confidence(found, aggregate=a, span="output") for a in ("minimum", "geometric_mean", "mean")]
    assert (None in values) == (not texts)
    if texts:
        assert 0 <= values[0] <= values[1] * (1 + 1e-9) <= values[2] * (1 + 2e-9) <= 1 + 3e-9
        assert not any(map(math.isnan, values))


@given(st.lists(st.integers(0, 9), unique=True, min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 10**6))
def test_every_retrieved_item_is_a_candidate_once(seeds, k, seed):
    rng = np.random.default_rng(seed)
    neighbors = Neighbors(rng.integers(0, 10, (len(seeds), k)), np.sort(rng.random((len(seeds), k)).round(1)))
    types = list("aabbbccccc")
    for order in ("rank", "distance"):
        found = candidates(seeds, neighbors, order=order)
        rows = [item.row for item in found]
        assert rows[: len(seeds)] == seeds
        assert sorted(rows) == sorted({*seeds, *neighbors.rows.ravel().tolist()})
        quota = {"a": 1, "b": 2}
        taken = take(found, types, quota)
        assert count_types(taken, types) == {
            name: min(quota[name], n) for name, n in count_types(found, types).items() if name in quota
        }
