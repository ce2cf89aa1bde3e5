"""Purity, quotas and the mined set, on numbers that can be checked by hand."""

from __future__ import annotations

import doctest
from dataclasses import replace

import numpy as np
import pytest

from chexalign.errors import UserError
from chexalign.evaluate import confidence
from chexalign.mine import quotas as quotas_module
from chexalign.mine.expand import candidates, count_types, take
from chexalign.mine.purity import purity
from chexalign.mine.quotas import apportion, budget_of, quotas
from chexalign.mine.search.retrieve import Neighbors
from chexalign.mine.vectors import variants
from chexalign.mine.vectors.findings import columns_of, findings_of, flag_blocks, flags_digest
from chexalign.types import Evidence
from tests.unit.test_confidence import VERIFY


@pytest.mark.parametrize("module", [confidence, quotas_module, variants])
def test_examples(module):
    assert doctest.testmod(module).failed == 0


def curve(rows, failed, **more):
    neighbors = Neighbors(np.array(rows), np.zeros(np.shape(rows)))
    names = [f"p{i}" for i in range(len(rows))]
    return purity(neighbors, failed, variant="q+e", patients=names, policy="sft", split="train", seed=1, **more)


def test_purity_is_right_for_every_k():
    failed = [True, False, True, False, None]
    found = curve([[0, 1, 2, 3], [1, 0, 4, 2]], failed)
    values = [estimate.value for estimate in found.curve]
    assert values == pytest.approx([0.5, 0.5, (2 / 3 + 1 / 2) / 2, (2 / 4 + 2 / 3) / 2])
    assert found.base_rate == 0.5
    assert found.curve[1].metric == "purity.q+e.at2"
    assert len(curve([[0, 1, 2, 3]], failed, most=2).curve) == 2


def test_purity_stays_where_all_neighbors_fail():
    """The published curve falls as 1 / k from where nothing more was retrieved."""
    found = curve([[0] * 30] * 25, [True])
    assert [e.value for e in found.curve] == [1.0] * 30
    assert (found.curve[29].low, found.curve[29].high) == (1.0, 1.0)
    with pytest.raises(UserError, match="30 neighbors were retrieved"):
        curve([[0] * 30] * 25, [True], most=31)


def test_purity_of_neighbors_that_were_never_asked():
    found = curve([[0, 1]], [None, None])
    assert [e.value for e in found.curve] == [None, None]
    assert found.base_rate is None


def test_quotas_by_rule():
    room = {"basic": 100, "compare": 100, "region": 100}
    counts = {"failed": {"basic": 30, "compare": 10}, "data": {"basic": 600, "compare": 300, "region": 100}}
    assert quotas("equal", 10, available=room, **counts).given == {"basic": 4, "compare": 3, "region": 3}
    assert quotas("as_failed", 10, available=room, **counts).given == {"basic": 8, "compare": 2, "region": 0}
    found = quotas("as_data", 10, available=room, **counts)
    assert found.given == found.wanted == {"basic": 6, "compare": 3, "region": 1}
    assert found.short == {}


def test_what_a_type_lacks_is_passed_on():
    counts = {"failed": {"a": 1, "b": 1, "c": 0}, "data": {"a": 8, "b": 1, "c": 1}}
    found = quotas("as_data", 10, available={"a": 2, "b": 20, "c": 3}, **counts)
    assert found.given == {"a": 2, "b": 5, "c": 3}
    assert (found.wanted, found.short) == ({"a": 8, "b": 1, "c": 1}, {"a": 6})
    found = quotas("as_failed", 6, available={"a": 1, "b": 1, "c": 20}, **counts)  # the rule gives c nothing
    assert (found.given, found.short) == ({"a": 1, "b": 1, "c": 4}, {"a": 2, "b": 2})
    found = quotas("equal", 4, available={"c": 4}, **counts)
    assert (found.given, found.short) == ({"a": 0, "b": 0, "c": 4}, {"a": 2, "b": 1})


def test_budgets():
    assert budget_of(20_000) == 1000
    assert budget_of(30, share=0.05) == 2
    for share in (0.0, -0.1, 1.2, float("nan")):
        with pytest.raises(UserError, match="budget"):
            budget_of(100, share=share)
    with pytest.raises(UserError, match="no item"):
        budget_of(5)
    with pytest.raises(UserError, match="larger than the data"):
        quotas("equal", 6, available={"a": 3, "b": 2}, failed={}, data={})


def test_apportioning_to_nothing():
    assert apportion(0, {"a": 1, "b": 2}) == {"a": 0, "b": 0}


NEIGHBORS = Neighbors(np.array([[5, 7, 1], [7, 5, 8]]), np.array([[0.1, 0.4, 0.5], [0.2, 0.3, 0.6]]))


def test_candidates_by_rank_and_by_distance():
    by_rank = candidates([1, 2], NEIGHBORS, order="rank")
    assert [(m.row, m.seed, m.rank) for m in by_rank] == [(1, 0, 0), (2, 1, 0), (5, 0, 1), (7, 1, 1), (8, 1, 3)]
    near = Neighbors(NEIGHBORS.rows, np.array([[0.5, 0.6, 0.7], [0.1, 0.2, 0.3]]))
    by_distance = candidates([1, 2], near, order="distance")
    assert [(m.row, m.seed, m.distance) for m in by_distance[2:]] == [(7, 1, 0.1), (5, 1, 0.2), (8, 1, 0.3)]
    apart = candidates([None, 2], NEIGHBORS, order="rank")  # the first seed is of an evaluated patient
    assert [(m.row, m.seed, m.rank) for m in apart] == [(2, 1, 0), (5, 0, 1), (7, 1, 1), (1, 0, 3), (8, 1, 3)]
    with pytest.raises(ValueError, match="seeds"):
        candidates([1], NEIGHBORS, order="rank")


def test_the_mined_set_keeps_to_the_quotas():
    found = candidates([1, 2], NEIGHBORS, order="rank")
    types = ["basic", "basic", "region", "", "", "region", "", "basic", "region"]
    assert count_types(found, types) == {"basic": 2, "region": 3}
    assert [m.row for m in take(found, types, {"basic": 1, "region": 2})] == [1, 2, 5]


def test_findings_of_evidence():
    evidence = (
        Evidence("label", "Edema"),
        Evidence("label", "Mass", present=False),
        Evidence("box", "Nodule", image=0, box=(0, 0, 0.5, 0.5)),
        Evidence("study", "s0"),
    )
    assert findings_of(replace(VERIFY, evidence=evidence)) == {"Edema", "Nodule"}
    rows = [{"b", "a"}, set(), {"a", "other"}]
    (block,) = flag_blocks(rows, ("a", "b"))
    np.testing.assert_array_equal(block, [[1, 1], [0, 0], [1, 0]])
    assert columns_of(rows) == ("a", "b", "other")
    assert flags_digest(["a", "b"]) != flags_digest(["b", "a"])
    with pytest.raises(UserError, match="No item has a finding"):
        columns_of([set(), set()])
