"""Paired tests against full enumeration and by hand, and Holm's correction against a worked example."""

import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test

from chexalign.stats import PairedTests, holm, paired_f1_p, paired_p, with_holm
from chexalign.types import Comparison

N = 200
IDS = [f"s{i:03d}" for i in range(N)]
ABOUT = {"metric": "m", "policy": "dpo", "baseline": "sft"}


def micro_macro(true, called):
    hits, t, c = (x.sum(axis=0) for x in (true * called, true, called))
    return 2 * hits.sum() / (t.sum() + c.sum()), np.mean(2 * hits / (t + c))


def enumerated(clusters, statistic, first, second):
    """The share of all swaps of whole clusters whose absolute difference reaches the observed one."""
    names, index = np.unique(clusters, return_inverse=True)
    found = []
    for pattern in itertools.product([False, True], repeat=len(names)):
        swapped = np.array(pattern)[index].reshape(-1, *[1] * (first.ndim - 1))
        found.append(statistic(np.where(swapped, second, first)) - statistic(np.where(swapped, first, second)))
    return np.mean(np.abs(found) >= abs(found[0]) - 1e-12, axis=0)


@pytest.fixture(scope="module")
def few():
    """Eleven rows of seven patients: values and labels of two systems, the first one better."""
    rng = np.random.default_rng(8)
    patients = np.array([f"p{i}" for i in (0, 0, 1, 2, 2, 2, 3, 4, 5, 6, 6)])
    true = (rng.random((11, 3)) < 0.6).astype(int)
    true[:2] = [[1, 1, 1], [1, 0, 1]]
    called = [np.where(rng.random(true.shape) < share, 1 - true, true) for share in (0.1, 0.4)]
    return patients, rng.random(11) + 0.2, rng.random(11), true, *called


def test_p_of_a_mean_equals_full_enumeration(few):
    patients, x, y, *_ = few
    p = paired_p(x, y, clusters=patients, seed=1)
    assert p == pytest.approx(enumerated(patients, np.mean, x, y), abs=1e-12)
    assert 0 < p < 1


def test_p_of_a_mean_equals_scipy_s_permutation_test(few):
    _, x, y, *_ = few
    wanted = permutation_test((x, y), lambda a, b: np.mean(a) - np.mean(b), permutation_type="samples").pvalue
    assert paired_p(x, y, clusters=IDS[:11], seed=1) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("average", "which"), [("micro", 0), ("macro", 1)])
def test_p_of_f1_equals_full_enumeration(few, average, which):
    patients, _, _, true, called, base = few
    p = paired_f1_p(true, called, base, average=average, clusters=patients, seed=1)
    wanted = enumerated(patients, lambda rows: micro_macro(true, rows)[which], called, base)
    assert p == pytest.approx(wanted, abs=1e-12)
    assert 0 < p < 1


def test_random_swaps_come_close_to_full_enumeration(few):
    patients, x, y, true, called, base = few
    # 100 of the 127 swaps would not fit: they are drawn, with repetition.
    ps = [paired_p(x, y, clusters=patients, seed=seed, flips=100) for seed in range(40)]
    assert np.mean(ps) == pytest.approx(paired_p(x, y, clusters=patients, seed=1), abs=0.03)
    assert len(set(ps)) > 1
    f1s = [paired_f1_p(true, called, base, average="macro", clusters=patients, seed=s, flips=100) for s in range(40)]
    exact = paired_f1_p(true, called, base, average="macro", clusters=patients, seed=1)
    assert np.mean(f1s) == pytest.approx(exact, abs=0.03)


def test_exact_p_needs_no_seed_and_is_a_share_of_all_swaps(few):
    patients, x, y, *_ = few
    ps = {paired_p(x, y, clusters=patients, seed=seed, flips=127) for seed in range(5)}
    assert len(ps) == 1
    assert ps.pop() * 128 % 1 == 0


def test_comparisons_tell_what_was_tested(few):
    patients, x, y, true, called, base = few
    tests = PairedTests(patients, seed=1)
    mean, (micro, macro) = tests.mean(x, y, **ABOUT), tests.f1(true, called, base, **ABOUT)
    assert mean.delta == pytest.approx(np.mean(x - y))
    assert mean.p == paired_p(x, y, clusters=patients, seed=1)
    assert mean.test == "exact randomization, all swaps of 7 clusters"
    assert (micro.delta, macro.delta) == pytest.approx(np.subtract(micro_macro(true, called), micro_macro(true, base)))
    for average, found in (("micro", micro), ("macro", macro)):
        assert found.metric == f"m.{average}_f1_3"
        assert found.p == paired_f1_p(true, called, base, average=average, clusters=patients, seed=1)
    assert {c.p_holm for c in (mean, micro, macro)} == {None}
    many = PairedTests(IDS, seed=3, flips=99).mean(np.ones(N), np.zeros(N), **ABOUT)
    assert (many.p, many.test) == (0.01, "approximate randomization, 99 swaps of 200 clusters, seed 3")


def test_rows_without_a_value_are_left_out_and_counted():
    x = [None] * 10 + [1.0] * (N - 10)
    found = PairedTests(IDS, seed=1, flips=99).mean(x, np.zeros(N), **ABOUT)
    assert found.delta == 1
    assert found.test.endswith("190 clusters, seed 1; 10 of 200 rows unscored and left out")


def test_nothing_to_compare_has_no_p():
    tests = PairedTests(IDS, seed=1, flips=99)
    empty = np.zeros((N, 2))
    found = [tests.mean([None] * N, np.zeros(N), **ABOUT), *tests.f1(empty, empty, empty, **ABOUT)]
    assert [(c.delta, c.p, c.test) for c in found] == [(None, None, "no test: nothing to compare")] * 3
    assert paired_f1_p(empty, empty, empty, average="macro", clusters=IDS, seed=1, flips=99) == 1


def test_unfit_input_is_refused():
    tests = PairedTests(IDS, seed=1)
    with pytest.raises(ValueError, match="one per cluster entry"):
        tests.mean(np.zeros(3), np.zeros(3), **ABOUT)
    with pytest.raises(ValueError, match="0 or 1"):
        tests.f1(np.zeros((N, 2)), np.full((N, 2), 3), np.zeros((N, 2)), **ABOUT)


# Four tests at 0.01, 0.04, 0.03 and 0.005, in order 0.005, 0.01, 0.03, 0.04: times 4, 3, 2 and 1 they are 0.02, 0.03,
# 0.06 and 0.04; the last may not be smaller than the one before it.
def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(
    ("ps", "wanted"),
    [
        ([], []),
        ([0.2], [0.2]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.03, None, 0.02], [0.04, None, 0.04]),
    ],
)
def test_holm_at_its_edges(ps, wanted):
    assert holm(ps) == pytest.approx(wanted)


def test_holm_of_comparisons_keeps_their_order():
    ps = [0.01, None, 0.04, 0.03, 0.005]
    rows = [Comparison(f"m{i}", "dpo", "sft", None if p is None else 0.1, p, None, "t") for i, p in enumerate(ps)]
    corrected = with_holm(rows)
    assert [c.metric for c in corrected] == [c.metric for c in rows]
    assert [c.p for c in corrected] == ps
    assert [c.p_holm for c in corrected] == [pytest.approx(0.03), None, *[pytest.approx(0.06)] * 2, pytest.approx(0.02)]


@pytest.mark.parametrize(
    ("delta", "p", "p_holm"), [(0.1, None, None), (None, 0.1, None), (0.1, 1.2, None), (0.1, 0.2, 0.1), (None, None, 1)]
)
def test_a_comparison_refuses_what_cannot_be_true(delta, p, p_holm):
    with pytest.raises(ValueError, match="Comparison"):
        Comparison("m", "dpo", "sft", delta, p, p_holm, "t")
