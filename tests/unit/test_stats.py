"""Bootstrap intervals and paired tests, against numbers worked out by hand and against simulation."""

import numpy as np
import pytest

from chexalign.stats import FEWEST_CLUSTERS, Bootstrap, bootstrap_weights, paired_f1_p, paired_p

N = 300
IDS = [f"s{i:03d}" for i in range(N)]
ABOUT = {"metric": "m", "policy": "dpo", "split": "test"}
AGAINST = ABOUT | {"baseline": "sft"}

# Three labels by hand: tp 2, 1, 0; true 3, 1, 0; called 2, 2, 1.
TRUE = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
PREDICTED = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]])


@pytest.fixture(scope="module")
def bootstrap():
    return Bootstrap(IDS, seed=1)


def simulated_labels(rng, prevalence, sensitivity, false_alarm):
    true = rng.random((N, len(prevalence))) < prevalence
    called = np.where(true, rng.random(true.shape) < sensitivity, rng.random(true.shape) < false_alarm)
    return true, called


def covered(estimate, truth):
    return estimate.low <= truth <= estimate.high


def test_every_resample_draws_as_many_clusters_as_there_are():
    weights = bootstrap_weights(["a", "b", "b", "c"], resamples=50, seed=3)
    assert weights.shape == (50, 4)
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert (weights[:, 1] == weights[:, 2]).all()


def test_each_row_weighs_one_on_average():
    weights = bootstrap_weights(IDS, resamples=2_000, seed=3)
    assert weights.mean() == 1
    assert abs(weights.mean(axis=0) - 1).max() < 0.12  # 5 standard errors of a Poisson(1) mean


def test_mean_is_the_value_on_the_full_set(bootstrap):
    values = np.arange(N) / 10
    estimate = bootstrap.mean(values, **ABOUT)
    assert estimate.value == pytest.approx(14.95)
    assert estimate.low < 14.95 < estimate.high
    assert (estimate.n, estimate.n_clusters, estimate.level, estimate.baseline) == (N, N, 0.90, None)
    assert estimate.method == "percentile bootstrap, 1000 resamples of 300 clusters, seed 1"


def test_f1_by_hand():
    micro, macro = Bootstrap(list("abcd"), seed=1).f1(TRUE, PREDICTED, **ABOUT)
    assert micro.value == pytest.approx(2 * 3 / (4 + 5))
    assert macro.value == pytest.approx((2 * 2 / 5 + 2 * 1 / 3) / 2)  # the third label has no true case
    assert (micro.metric, macro.metric) == ("m.micro_f1_3", "m.macro_f1_3")
    assert "1 of 3 labels have no true case" in macro.method


def test_label_f1_by_hand():
    found = Bootstrap(list("abcd"), seed=1).label_f1(TRUE, PREDICTED, labels=["x", "y", "z"], **ABOUT)
    assert [e.metric for e in found] == ["m.f1.x", "m.f1.y", "m.f1.z"]
    assert found[0].value == pytest.approx(0.8)
    assert found[1].value == pytest.approx(2 / 3)
    assert found[2].value is None
    assert found[1].method.endswith("; 1 true cases")


def test_weighted_f1_equals_f1_of_the_repeated_rows():
    bootstrap = Bootstrap([str(i % 30) for i in range(90)], seed=5, resamples=20)
    rng = np.random.default_rng(0)
    true, called = rng.random((2, 90, 4)) < 0.4
    micro, macro = bootstrap.f1(true, called, **ABOUT)
    micros, macros = [], []
    for weights in bootstrap.weights:
        t, c = (np.repeat(x, weights.astype(int), axis=0) for x in (true, called))
        micros.append(2 * (t & c).sum() / (t.sum() + c.sum()))
        macros.append(np.mean(2 * (t & c).sum(0) / (t.sum(0) + c.sum(0))))
    assert (micro.low, micro.high) == pytest.approx(tuple(np.quantile(micros, [0.05, 0.95])))
    assert (macro.low, macro.high) == pytest.approx(tuple(np.quantile(macros, [0.05, 0.95])))


def test_mean_interval_covers_as_often_as_it_says(bootstrap):
    rng = np.random.default_rng(11)
    hits = [covered(bootstrap.mean(rng.beta(0.5, 2, N), **ABOUT), 0.2) for _ in range(300)]
    assert 0.86 <= np.mean(hits) <= 0.94


def test_micro_f1_interval_covers_as_often_as_it_says(bootstrap):
    rng = np.random.default_rng(12)
    prevalence, sensitivity, false_alarm = np.array([0.4, 0.2, 0.1, 0.05]), 0.7, 0.1
    called = prevalence * sensitivity + (1 - prevalence) * false_alarm
    truth = 2 * (prevalence * sensitivity).sum() / (prevalence + called).sum()
    draws = (simulated_labels(rng, prevalence, sensitivity, false_alarm) for _ in range(300))
    hits = [covered(bootstrap.f1(t, c, **ABOUT)[0], truth) for t, c in draws]
    assert 0.86 <= np.mean(hits) <= 0.94


def test_difference_interval_covers_as_often_as_it_says(bootstrap):
    rng = np.random.default_rng(13)
    hits = []
    for _ in range(300):
        shared = rng.normal(size=N)
        better, base = shared + rng.normal(0.1, 0.5, N), shared + rng.normal(0, 0.5, N)
        hits.append(covered(bootstrap.difference(better, base, **AGAINST), 0.1))
    assert 0.86 <= np.mean(hits) <= 0.94


def test_clusters_of_equal_rows_widen_the_interval_by_the_square_root_of_their_size():
    values = np.repeat(np.random.default_rng(2).normal(size=100), 4)
    rows = Bootstrap([str(i) for i in range(400)], seed=1).mean(values, **ABOUT)
    patients = Bootstrap([str(i // 4) for i in range(400)], seed=1).mean(values, **ABOUT)
    assert rows.value == patients.value
    assert (patients.high - patients.low) / (rows.high - rows.low) == pytest.approx(2, rel=0.1)
    assert (patients.n, patients.n_clusters) == (400, 100)


def test_patient_interval_covers_and_row_interval_does_not():
    patients = [str(i // 3) for i in range(N)]
    by_patient, by_row = Bootstrap(patients, seed=1), Bootstrap(IDS, seed=1)
    rng = np.random.default_rng(14)
    hits = []
    for _ in range(300):
        values = np.repeat(rng.normal(size=N // 3), 3) + 0.2 * rng.normal(size=N)
        hits.append([covered(b.mean(values, **ABOUT), 0) for b in (by_patient, by_row)])
    clustered, unclustered = np.mean(hits, axis=0)
    assert 0.86 <= clustered <= 0.94
    assert unclustered < 0.75


def test_identical_systems_differ_by_exactly_nothing(bootstrap):
    rng = np.random.default_rng(3)
    values = rng.random(N)
    true, called = simulated_labels(rng, np.array([0.3, 0.1]), 0.6, 0.1)
    found = [bootstrap.difference(values, values, **AGAINST), *bootstrap.f1_difference(true, called, called, **AGAINST)]
    assert [(e.value, e.low, e.high) for e in found] == [(0, 0, 0)] * 3
    assert not any(e.excludes_zero for e in found)
    assert {e.baseline for e in found} == {"sft"}


def test_f1_difference_is_the_difference_of_the_f1s_and_is_tighter_than_unpaired(bootstrap):
    rng = np.random.default_rng(4)
    true, base = simulated_labels(rng, np.array([0.3, 0.2]), 0.6, 0.1)
    better = np.where(rng.random(true.shape) < 0.2, true, base)
    both = bootstrap.f1_difference(true, better, base, **AGAINST)
    apart = [bootstrap.f1(true, called, **ABOUT) for called in (better, base)]
    for gap, mine, theirs in zip(both, *apart, strict=True):
        assert gap.value == pytest.approx(mine.value - theirs.value)
        assert gap.excludes_zero
        assert gap.high - gap.low < mine.high - mine.low


def test_missing_values_are_left_out_and_counted(bootstrap):
    values = [None, float("nan")] + [0.5] * (N - 2)
    estimate = bootstrap.mean(values, **ABOUT)
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (0.5, 0.5, 0.5, N - 2)
    assert estimate.method.endswith("; 2 of 300 rows unscored and left out")
    gap = bootstrap.difference([0.7] * (N - 1) + [None], values, **AGAINST)
    assert gap.n == N - 3
    assert gap.value == pytest.approx(0.2)


def test_rows_with_a_missing_label_are_left_out_of_f1():
    holed = PREDICTED.astype(float)
    holed[2, 0] = np.nan
    micro, _ = Bootstrap(list("abcd"), seed=1).f1(TRUE, holed, **ABOUT)
    assert micro.n == 3
    assert micro.value == 1


def test_nothing_scored_has_no_value(bootstrap):
    estimate = bootstrap.mean([None] * N, **ABOUT)
    assert (estimate.value, estimate.low, estimate.n) == (None, None, 0)
    assert estimate.method.startswith("no value: nothing to average; 300 of 300")


def test_nothing_true_and_nothing_called_has_no_f1(bootstrap):
    micro, macro = bootstrap.f1(np.zeros((N, 2)), np.zeros((N, 2)), **ABOUT)
    assert (micro.value, macro.value) == (None, None)


@pytest.mark.parametrize(("clusters", "has_interval"), [(FEWEST_CLUSTERS - 1, False), (FEWEST_CLUSTERS, True)])
def test_few_clusters_get_no_interval(clusters, has_interval):
    rows = [str(i % clusters) for i in range(60)]
    estimate = Bootstrap(rows, seed=1).mean(np.arange(60), **ABOUT)
    assert estimate.value == 29.5
    assert (estimate.low is not None) == has_interval
    assert has_interval or estimate.method == "no interval: 19 clusters, fewer than 20"


def test_same_seed_same_interval_other_seed_other_interval():
    values = np.random.default_rng(5).random(N)
    first, again, other = (Bootstrap(IDS, seed=s).mean(values, **ABOUT) for s in (1, 1, 2))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


def test_higher_level_is_wider():
    values = np.random.default_rng(5).random(N)
    narrow, wide = (Bootstrap(IDS, seed=1, level=level).mean(values, **ABOUT) for level in (0.90, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("values", "message"), [(np.zeros(N - 1), "one per cluster entry"), ([float("inf")] * N, "infinite")]
)
def test_unfit_values_are_refused(bootstrap, values, message):
    with pytest.raises(ValueError, match=message):
        bootstrap.mean(values, **ABOUT)


def test_unfit_labels_are_refused(bootstrap):
    with pytest.raises(ValueError, match="0 or 1"):
        bootstrap.f1(np.full((N, 2), 2), np.ones((N, 2)), **ABOUT)
    with pytest.raises(ValueError, match="labels must be"):
        bootstrap.f1(np.ones((N, 3)), np.ones((N, 2)), **ABOUT)
    with pytest.raises(ValueError, match="3 labels for 2 columns"):
        bootstrap.label_f1(np.ones((N, 2)), np.ones((N, 2)), labels=list("abc"), **ABOUT)
    with pytest.raises(ValueError, match="0 < level < 1"):
        Bootstrap(IDS, seed=1, level=90)


def test_sign_flip_p_of_identical_systems_is_one():
    assert paired_p(np.arange(N), np.arange(N), clusters=IDS, seed=1, flips=99) == 1


def test_sign_flip_p_is_never_zero():
    assert paired_p(np.ones(N), np.zeros(N), clusters=IDS, seed=1, flips=999) == 1 / 1000


def test_sign_flip_p_nears_the_exact_one():
    # Five differences of one sign: of the 32 sign patterns, 2 reach the observed mean.
    assert paired_p([1] * 5, [0] * 5, clusters=list("abcde"), seed=1, flips=20_000) == pytest.approx(2 / 32, abs=0.006)


def test_sign_flip_keeps_clusters_together():
    # Six rows of two patients: of the 4 sign patterns, 2 reach the observed mean.
    assert paired_p([1] * 6, [0] * 6, clusters=list("aaabbb"), seed=1, flips=4_000) == pytest.approx(0.5, abs=0.03)


def test_sign_flip_p_is_uniform_when_nothing_differs():
    rng = np.random.default_rng(6)
    ps = [paired_p(rng.normal(size=30), rng.normal(size=30), clusters=IDS[:30], seed=i, flips=99) for i in range(300)]
    assert 0.06 <= np.mean(np.array(ps) <= 0.10) <= 0.14


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_randomization_p_of_f1(average):
    rng = np.random.default_rng(7)
    true, base = simulated_labels(rng, np.array([0.3, 0.2]), 0.5, 0.1)
    better = np.where(rng.random(true.shape) < 0.3, true, base)
    test = {"average": average, "clusters": IDS, "seed": 1, "flips": 499}
    assert paired_f1_p(true, base, base, **test) == 1
    assert paired_f1_p(true, better, base, **test) == 1 / 500
    assert paired_f1_p(true, base, better, **test) == 1 / 500


def test_randomization_p_of_f1_nears_the_exact_one():
    # Two studies, one of them found by one system only: every swap leaves the absolute difference as it is.
    true, found, missed = np.ones((2, 1)), np.array([[1], [1]]), np.array([[0], [1]])
    assert paired_f1_p(true, found, missed, average="micro", clusters=["a", "b"], seed=1, flips=99) == 1


def test_some_of_the_rows_keep_their_resamples(bootstrap):
    values, rows = np.random.default_rng(8).random(N), np.arange(N) % 3 == 0
    inside = bootstrap.only(rows).mean(values[rows], **ABOUT)
    same = bootstrap.mean(np.where(rows, values, np.nan), **ABOUT)
    assert (inside.value, inside.low, inside.high) == pytest.approx((same.value, same.low, same.high), abs=1e-12)
    assert (inside.n, inside.n_clusters) == (100, 100)
    assert inside.method == "percentile bootstrap, 1000 resamples of 100 clusters, seed 1"
    with pytest.raises(ValueError, match="rows must be"):
        bootstrap.only(rows[:5])


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_a_statistic_of_weights_is_computed_on_every_resample(interval):
    patients, values = [str(i // 2) for i in range(N)], np.random.default_rng(9).random(N)
    values[:3] = np.nan
    some = Bootstrap(patients, seed=1, resamples=450, interval=interval)
    found = some.of_weights([values], lambda weights, x: weights @ x / weights.sum(axis=1), **ABOUT)
    mean = some.mean(values, **ABOUT)
    assert (found.value, found.low, found.high) == pytest.approx((mean.value, mean.low, mean.high), abs=1e-12)
    assert (found.n, found.n_clusters, found.method) == (mean.n, mean.n_clusters, mean.method)


def test_no_row_gives_no_value_whatever_the_statistic_makes_of_it(bootstrap):
    found = bootstrap.of_sums([[None] * N], lambda sums: np.ones(len(sums)), **ABOUT)
    assert (found.value, found.low, found.n) == (None, None, 0)


def test_a_statistic_that_no_resample_has_gets_no_interval():
    true = np.arange(N)[:, None] == 0
    without = next(seed for seed in range(20) if Bootstrap(IDS, seed=seed, resamples=1).weights[0, 0] == 0)
    (found,) = Bootstrap(IDS, seed=without, resamples=1).label_f1(true, true, labels=["x"], **ABOUT)
    assert (found.value, found.low) == (1, None)
    assert found.method == "no interval: the statistic is undefined on every resample; 1 true cases"
