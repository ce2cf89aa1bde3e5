"""What must hold of every interval, whatever the values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chexalign.stats import Bootstrap, bootstrap_weights, paired_p

N = 25
IDS = [f"s{i:02d}" for i in range(N)]
BOOTSTRAP = Bootstrap(IDS, seed=1, resamples=100)
ABOUT = {"metric": "m", "policy": "dpo", "split": "test"}
AGAINST = ABOUT | {"baseline": "sft"}
values = arrays(np.float64, N, elements=st.floats(-100, 100))
labels = arrays(np.bool_, (N, 3))


@given(values)
def test_bounds_lie_in_order_within_the_values(x):
    e = BOOTSTRAP.mean(x, **ABOUT)
    slack = 1e-9
    assert x.min() - slack <= e.low <= e.high + slack <= x.max() + 2 * slack


@given(values, st.floats(-10, 10), st.floats(0.1, 10))
def test_mean_follows_a_change_of_units(x, shift, scale):
    e, moved = BOOTSTRAP.mean(x, **ABOUT), BOOTSTRAP.mean(scale * x + shift, **ABOUT)
    assert (moved.value, moved.low, moved.high) == pytest.approx(
        tuple(scale * v + shift for v in (e.value, e.low, e.high)), abs=1e-6
    )


@given(values, values)
def test_exchanging_the_systems_flips_the_interval(x, y):
    ahead, behind = BOOTSTRAP.difference(x, y, **AGAINST), BOOTSTRAP.difference(y, x, **AGAINST)
    assert (ahead.value, ahead.low, ahead.high) == pytest.approx((-behind.value, -behind.high, -behind.low), abs=1e-9)


@given(labels, labels)
def test_f1_lies_between_0_and_1_and_ignores_which_side_is_the_truth_when_pooled(true, called):
    micro, macro = BOOTSTRAP.f1(true, called, **ABOUT)
    swapped, _ = BOOTSTRAP.f1(called, true, **ABOUT)
    assert micro.value == swapped.value
    assert all(0 <= v <= 1 for e in (micro, macro) for v in (e.value, e.low, e.high) if v is not None)


@given(labels.filter(lambda t: t.any()))
def test_a_perfect_system_has_f1_1_in_every_resample_and_its_opposite_0(true):
    for e in BOOTSTRAP.f1(true, true, **ABOUT):
        assert (e.value, e.low, e.high) == (1, 1, 1)
    for e in BOOTSTRAP.f1(true, ~true, **ABOUT):
        assert (e.value, e.low, e.high) == (0, 0, 0)


@given(values, st.sets(st.integers(0, N - 1), max_size=4))
def test_a_missing_value_is_not_a_zero(x, holes):
    holed = x.copy()
    holed[list(holes)] = np.nan
    kept = np.delete(x, list(holes))
    e = BOOTSTRAP.mean(holed, **ABOUT)
    assert e.n == N - len(holes)
    assert e.value == pytest.approx(kept.mean(), abs=1e-9)
    assert kept.min() - 1e-9 <= e.low <= e.high <= kept.max() + 1e-9


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=20), st.integers(1, 30), st.integers(0, 2**31))
def test_rows_of_a_cluster_are_drawn_together(clusters, resamples, seed):
    weights = bootstrap_weights(clusters, resamples=resamples, seed=seed)
    firsts = [clusters.index(c) for c in clusters]
    assert (weights == weights[:, firsts]).all()
    assert (weights[:, sorted(set(firsts))].sum(axis=1) == len(set(clusters))).all()


@settings(max_examples=30)
@given(values, values, st.integers(0, 1000))
def test_p_is_a_multiple_of_its_resolution_and_symmetric(x, y, seed):
    p = paired_p(x, y, clusters=IDS, seed=seed, flips=99)
    assert 0.01 <= p <= 1
    assert p * 100 == pytest.approx(round(p * 100))
    assert p == paired_p(y, x, clusters=IDS, seed=seed, flips=99)
