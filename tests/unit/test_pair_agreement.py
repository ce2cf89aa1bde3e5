"""Agreement of judges, by hand and against SciPy's tau-b."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from chexalign.pairs.agreement import Agreement, agreements
from chexalign.pairs.columns import columns_of
from chexalign.types import Candidate


def columns(*sizes):
    rows = [(f"p{p}", d, f"Text number {d}.") for p, n in enumerate(sizes) for d in range(n)]
    return columns_of(Candidate(f"{p}.{d}", p, text, 4, None, "stop", d, "tiny") for p, d, text in rows)


def test_by_hand():
    a, b = np.array([0.1, 0.5, 0.9, 0.2, 0.2]), np.array([0.1, 0.9, 0.5, 0.3, np.nan])
    assert agreements(columns(3, 2), {"b": b, "a": a}) == [
        Agreement("a", "b", 3, 3, pytest.approx(2 / 3), pytest.approx(1 / 3))
    ]


def test_one_prompt_is_kendalls_tau_b():
    rng = np.random.default_rng(3)
    a, b, c = np.round(rng.random((3, 30)), 1)
    found = agreements(columns(30), {"a": a, "b": b, "c": c})
    assert [(f.first, f.second) for f in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [f.tau_b for f in found] == pytest.approx(
        [kendalltau(x, y).statistic for x, y in ((a, b), (a, c), (b, c))], abs=1e-12
    )


def test_nothing_to_order_gives_no_number():
    flat = np.zeros(3)
    (found,) = agreements(columns(2, 1), {"a": flat, "b": flat})
    assert found == Agreement("a", "b", 1, 0, None, None)
    assert agreements(columns(), {"a": np.empty(0), "b": np.empty(0)})[0].n == 0


def test_equal_texts_are_no_two_candidates():
    rows = [Candidate(f"c{i}", "p", "The same.", 3, None, "stop", i, "tiny") for i in range(3)]
    assert agreements(columns_of(rows), {"a": np.arange(3.0), "b": np.arange(3.0)})[0].n == 0
