"""What changes nothing: the order of rows and labels, and which rows of a patient come first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chexalign.stats import Bootstrap, PairedTests, holm, paired_f1_p, paired_p

N = 60
PATIENTS = np.array([f"p{i // 2:02d}" for i in range(N)])
ABOUT = {"metric": "m", "policy": "dpo", "split": "test"}
AGAINST = ABOUT | {"baseline": "sft"}
LABELS = list("abcd")
KINDS = st.sampled_from(["percentile", "bca"])
values = arrays(np.float64, N, elements=st.floats(-100, 100))
labels = arrays(np.bool_, (N, 4))
orders = st.permutations(range(N)).map(np.array)


def bootstrap(clusters, kind):
    return Bootstrap(clusters, seed=1, resamples=60, interval=kind)


def bounds(estimates):
    return [v for e in estimates for v in (e.value, e.low, e.high)]


def close(estimates):
    return [v if v is None else pytest.approx(v, rel=1e-6, abs=1e-6) for v in bounds(estimates)]


def rounded(x):
    return np.round(x, 1)  # so that no two statistics tie up to rounding alone


@settings(max_examples=40)
@given(values, values, orders, st.sampled_from(["percentile", "bca"]))
def test_the_order_of_rows_changes_no_interval(x, y, order, kind):
    x, y = rounded(x), rounded(y)
    one, other = bootstrap(PATIENTS, kind), bootstrap(PATIENTS[order], kind)
    assert bounds([other.mean(x[order], **ABOUT), other.difference(x[order], y[order], **AGAINST)]) == close(
        [one.mean(x, **ABOUT), one.difference(x, y, **AGAINST)]
    )


@settings(max_examples=40)
@given(labels, labels, orders, KINDS)
def test_the_order_of_rows_changes_no_f1(true, called, order, kind):
    name = ABOUT | {"labels": LABELS, "subsets": [LABELS[:2]]}
    one = bootstrap(PATIENTS, kind).f1_report(true, called, **name)
    other = bootstrap(PATIENTS[order], kind).f1_report(true[order], called[order], **name)
    assert bounds(other) == close(one)


@settings(max_examples=40)
@given(labels, labels, st.permutations(range(4)), KINDS)
def test_the_order_of_labels_changes_no_f1(true, called, order, kind):
    one, name = bootstrap(PATIENTS, kind), ABOUT
    there = one.f1_report(true[:, order], called[:, order], labels=[LABELS[i] for i in order], **name)
    here = {e.metric: e for e in one.f1_report(true, called, labels=LABELS, **name)}
    assert bounds(there) == close([here[e.metric] for e in there])


@settings(max_examples=30)
@given(values, values, labels, labels, labels, orders)
def test_the_order_of_rows_changes_no_p(x, y, true, called, base, order):
    x, y = rounded(x), rounded(y)
    there = {"clusters": PATIENTS[order], "seed": 2, "flips": 99}
    here = {"clusters": PATIENTS, "seed": 2, "flips": 99}
    assert paired_p(x[order], y[order], **there) == paired_p(x, y, **here)
    tables = (true, called, base)
    for average in ("micro", "macro"):
        moved = paired_f1_p(*(t[order] for t in tables), average=average, **there)
        assert moved == paired_f1_p(*tables, average=average, **here)


@settings(max_examples=30)
@given(labels, labels, labels)
def test_exchanging_the_systems_flips_the_differences_and_keeps_p(true, called, base):
    tests = PairedTests(PATIENTS, seed=2, flips=99)
    name = {"metric": "m", "policy": "dpo", "baseline": "sft"}
    for ahead, behind in zip(tests.f1(true, called, base, **name), tests.f1(true, base, called, **name), strict=True):
        assert ahead.p == behind.p
        assert ahead.delta is None or ahead.delta == pytest.approx(-behind.delta, abs=1e-12)


@settings(max_examples=40)
@given(values, KINDS)
def test_bounds_of_either_kind_lie_in_order_within_the_values(x, kind):
    e = bootstrap(PATIENTS, kind).mean(x, **ABOUT)
    assert x.min() - 1e-9 <= e.low <= e.high <= x.max() + 1e-9


@settings(max_examples=40)
@given(values, st.floats(-10, 10), st.floats(0.1, 10))
def test_a_bca_interval_follows_a_change_of_units(x, shift, scale):
    x = rounded(x)
    one = bootstrap(PATIENTS, "bca")
    e, moved = one.mean(x, **ABOUT), one.mean(scale * x + shift, **ABOUT)
    assert (moved.low, moved.high) == pytest.approx((scale * e.low + shift, scale * e.high + shift), abs=1e-5)


ps = st.lists(st.none() | st.floats(0, 1), max_size=12)


@given(ps)
def test_a_corrected_p_is_no_smaller_and_keeps_the_order(found):
    adjusted = holm(found)
    made = [(p, a) for p, a in zip(found, adjusted, strict=True) if p is not None]
    assert [a is None for a in adjusted] == [p is None for p in found]
    assert all(p <= a <= 1 for p, a in made)
    assert all(a <= b for (_, a), (_, b) in zip(sorted(made), sorted(made)[1:], strict=False))
    if made:
        assert min(a for _, a in made) == min(1.0, len(made) * min(p for p, _ in made))


@given(ps, st.randoms(use_true_random=False))
def test_the_order_of_tests_changes_no_corrected_p(found, random):
    order = list(range(len(found)))
    random.shuffle(order)
    assert holm([found[i] for i in order]) == [holm(found)[i] for i in order]
