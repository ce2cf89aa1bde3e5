"""BCa intervals: against scipy's, against a jackknife done row by row, and where they are undefined."""

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats._resampling import BootstrapResult

from chexalign.stats import Bootstrap
from chexalign.stats.bca import bca, percentile

N = 120
IDS = [f"s{i:03d}" for i in range(N)]
PATIENTS = [f"p{i // 3:03d}" for i in range(N)]
ABOUT = {"metric": "m", "policy": "dpo", "split": "test"}
AGAINST = ABOUT | {"baseline": "sft"}
SKEWED = np.random.default_rng(1).exponential(size=N) ** 2


@pytest.fixture(scope="module")
def by_study():
    return Bootstrap(IDS, seed=1, interval="bca")


@pytest.fixture(scope="module")
def by_patient():
    return Bootstrap(PATIENTS, seed=1, interval="bca")


def bounds(estimate):
    return pytest.approx((estimate.low, estimate.high), abs=1e-12)


def without_each(clusters, statistic):
    """The statistic on the rows that are left when one cluster is taken out, for each cluster."""
    clusters = np.array(clusters)
    return np.array([statistic(clusters != name) for name in np.unique(clusters)])


def test_equals_scipy_on_the_same_draws(by_study):
    draws = by_study.weights @ SKEWED / N
    known = BootstrapResult(confidence_interval=None, bootstrap_distribution=draws, standard_error=None)
    theirs = scipy_bootstrap(
        (SKEWED,), np.mean, method="BCa", confidence_level=0.9, n_resamples=0, bootstrap_result=known, vectorized=True
    ).confidence_interval
    found = by_study.mean(SKEWED, **ABOUT)
    assert (theirs.low, theirs.high) == pytest.approx((found.low, found.high), rel=1e-9)
    assert found.method == "BCa bootstrap, 1000 resamples of 120 clusters, seed 1"


def test_the_jackknife_of_a_mean_leaves_out_whole_clusters(by_patient):
    found = by_patient.mean(SKEWED, **ABOUT)
    without = without_each(PATIENTS, lambda kept: SKEWED[kept].mean())
    draws = by_patient.weights @ SKEWED / by_patient.weights.sum(axis=1)
    assert bca(SKEWED.mean(), draws, without, 0.9) == bounds(found)


def test_the_jackknife_of_f1_equals_f1_of_the_remaining_rows(by_patient):
    rng = np.random.default_rng(3)
    true, called, base = rng.random((3, N, 4)) < 0.4

    def f1s(kept, predicted):
        hits, t, c = (x[kept].sum(axis=0) for x in (true & predicted, true, predicted))
        return 2 * hits.sum() / (t.sum() + c.sum()), np.mean(2 * hits / (t + c))

    def drawn(predicted):
        return np.array([f1s(np.repeat(np.arange(N), w.astype(int)), predicted) for w in by_patient.weights])

    all_rows = np.arange(N)
    found = by_patient.f1_difference(true, called, base, **AGAINST)
    for i, estimate in enumerate(found):
        value = f1s(all_rows, called)[i] - f1s(all_rows, base)[i]
        without = without_each(PATIENTS, lambda kept, i=i: f1s(kept, called)[i] - f1s(kept, base)[i])
        assert bca(value, (drawn(called) - drawn(base))[:, i], without, 0.9) == bounds(estimate)
        assert estimate.method.startswith("BCa")


def test_a_cluster_without_a_value_is_left_out_of_the_jackknife():
    values = np.where(np.arange(N) < 3, np.nan, SKEWED)  # the first patient has none
    some = Bootstrap(PATIENTS, seed=1, interval="bca")
    draws = some.weights[:, 3:] @ SKEWED[3:] / some.weights[:, 3:].sum(axis=1)
    without = without_each(PATIENTS[3:], lambda kept: SKEWED[3:][kept].mean())
    found = some.mean(values, **ABOUT)
    assert bca(SKEWED[3:].mean(), draws, without, 0.9) == bounds(found)
    assert (found.n, found.n_clusters) == (N - 3, N // 3 - 1)


def test_follows_the_skewness_of_the_values(by_study):
    plain, corrected = (b.mean(SKEWED, **ABOUT) for b in (by_study.using("percentile"), by_study))
    assert corrected.value == plain.value
    assert corrected.low > plain.low
    assert corrected.high > plain.high
    mirrored = by_study.mean(-SKEWED, **ABOUT)
    assert mirrored.high < by_study.using("percentile").mean(-SKEWED, **ABOUT).high


def test_is_close_to_percentile_for_symmetric_values(by_study):
    values = np.random.default_rng(2).normal(size=N)
    plain, corrected = (b.mean(values, **ABOUT) for b in (by_study.using("percentile"), by_study))
    width = plain.high - plain.low
    assert abs(corrected.low - plain.low) < 0.1 * width
    assert abs(corrected.high - plain.high) < 0.1 * width


def test_another_kind_of_interval_uses_the_same_resamples(by_study):
    assert by_study.using("percentile").weights is by_study.weights
    assert by_study.using("percentile").mean(SKEWED, **ABOUT) == Bootstrap(IDS, seed=1).mean(SKEWED, **ABOUT)
    with pytest.raises(ValueError, match="interval in"):
        Bootstrap(IDS, seed=1, interval="normal")


def test_equal_draws_fall_back_and_say_so(by_study):
    found = by_study.mean(np.full(N, 0.3), **ABOUT)
    assert (found.low, found.high) == pytest.approx((0.3, 0.3))
    assert found.method == (
        "percentile bootstrap, 1000 resamples of 120 clusters, seed 1; no BCa interval: all draws are equal"
    )


def test_a_label_missing_from_some_resamples_falls_back_and_says_so(by_study):
    true = np.zeros((N, 1))
    true[:2] = 1
    (found,) = by_study.label_f1(true, true, labels=["x"], **ABOUT)
    assert (found.value, found.low, found.high) == (1, 1, 1)
    assert "; no BCa interval: the statistic is undefined on some resamples" in found.method
    assert found.method.endswith("; 2 true cases")


def test_few_clusters_get_no_bca_interval_either():
    found = Bootstrap([str(i % 19) for i in range(60)], seed=1, interval="bca").mean(np.arange(60), **ABOUT)
    assert (found.low, found.method) == (None, "no interval: 19 clusters, fewer than 20")


SPREAD = np.linspace(0, 1, 100)


@pytest.mark.parametrize(
    ("value", "draws", "without", "reason"),
    [
        (0.5, np.append(SPREAD, np.nan), SPREAD, "undefined"),
        (0.5, SPREAD, np.append(SPREAD, np.nan), "undefined"),
        (0.5, np.full(100, 0.5), SPREAD, "all draws are equal"),
        (0.5, 0.5 + 1e-14 * SPREAD, SPREAD, "all draws are equal"),
        (2.0, SPREAD, SPREAD, "one side"),
        (-1.0, SPREAD, SPREAD, "one side"),
        (0.5, SPREAD, np.full(30, 0.5), "no cluster changes"),
        (0.001, SPREAD**4, np.array([0.0] + [1.0] * 20), None),
    ],
)
def test_where_a_bca_interval_is_undefined_the_reason_is_told(value, draws, without, reason):
    found = bca(value, draws, without, 0.9)
    if reason is None:
        low, high = found
        assert draws.min() <= low <= high <= draws.max()
    else:
        assert reason in found


def test_half_of_the_draws_that_equal_the_value_lie_below_it():
    # A tenth below, eight tenths equal, a tenth above: no bias. Symmetric jackknife: no acceleration.
    draws = np.repeat([0.0, 1.0, 2.0], [100, 800, 100])
    assert bca(1.0, draws, SPREAD, 0.5) == percentile(draws, 0.5)
    assert bca(1.0 + 1e-15, draws, SPREAD, 0.5) == percentile(draws, 0.5)


def test_an_acceleration_beyond_the_level_is_told():
    draws, one_outlier = np.linspace(0, 1, 1000), np.array([-1e3] + [0.5] * 400)
    assert not isinstance(bca(0.999, draws, one_outlier, 0.9), str)
    assert "acceleration" in bca(0.999, draws, one_outlier, 0.9999)
