"""What scores owe to length: against fits done otherwise, and on policies that gain by length alone or not at all."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from chexalign.evaluate.length import (
    length_controlled_win_rate,
    length_slope,
    logistic,
    relative_verbosity,
    win_rate,
    win_rate_by_length,
)
from chexalign.stats import Bootstrap

N = 400
IDS = [f"s{i:03d}" for i in range(N)]
ABOUT = {"metric": "green", "policy": "dpo", "split": "test"}
AGAINST = ABOUT | {"baseline": "sft"}


@pytest.fixture(scope="module", params=["percentile", "bca"])
def bootstrap(request):
    return Bootstrap(IDS, seed=1, resamples=300, interval=request.param)


def written(seed, *, gain, per_word, longer=15):
    """Scores and words of a policy and its baseline: a gain of its own, and one for each word more."""
    rng = np.random.default_rng(seed)
    base_words = rng.integers(30, 80, N)
    words = np.maximum(5, base_words + rng.normal(longer, 20, N).round())
    base = rng.beta(1, 2, N)
    return base + gain + per_word * (words - base_words) + rng.normal(0, 0.2, N), base, words, base_words


def test_relative_verbosity_is_the_ratio_of_mean_words(bootstrap):
    rng = np.random.default_rng(1)
    words, base = rng.integers(20, 90, N), rng.integers(20, 60, N)
    found = relative_verbosity(bootstrap, words, base, policy="dpo", baseline="sft", split="test")
    assert found.value == pytest.approx(words.mean() / base.mean())
    assert found.low < found.value < found.high
    assert found.metric == "verbosity_vs_sft"
    ratios = [(w @ words) / (w @ base) for w in bootstrap.weights]
    plain = relative_verbosity(bootstrap.using("percentile"), words, base, policy="dpo", baseline="sft", split="test")
    assert (plain.low, plain.high) == pytest.approx(tuple(np.quantile(ratios, [0.05, 0.95])))


def test_slope_equals_least_squares_per_ten_words(bootstrap):
    scores, base, words, base_words = written(2, gain=0.1, per_word=0.004)
    found = length_slope(bootstrap, scores, words, **ABOUT)
    assert found.value == pytest.approx(10 * np.polyfit(words, scores, 1)[0])
    assert found.metric == "green.per_10_words"
    gained = length_slope(bootstrap, scores - base, words - base_words, **ABOUT)
    assert gained.low < 0.04 < gained.high
    holed = scores.copy()
    holed[:7] = np.nan
    assert length_slope(bootstrap, holed, words, **ABOUT).value == pytest.approx(
        10 * np.polyfit(words[7:], scores[7:], 1)[0]
    )


def test_slope_of_equal_lengths_is_undefined(bootstrap):
    found = length_slope(bootstrap, np.random.default_rng(3).random(N), np.full(N, 40.3), **ABOUT)
    assert (found.value, found.low) == (None, None)
    assert length_slope(bootstrap, [None] * N, np.arange(N), **ABOUT).n == 0


def test_slope_covers_as_often_as_it_says():
    held = []
    for seed in range(100):
        scores, base, words, base_words = written(seed, gain=0, per_word=0.002)
        boot = Bootstrap(IDS, seed=seed, resamples=300)
        found = length_slope(boot, scores - base, words - base_words, **ABOUT)
        held.append(found.low <= 0.02 <= found.high)
    assert 0.81 <= np.mean(held) <= 0.98


def test_a_tie_is_half_a_win(bootstrap):
    scores, base = np.ones(N), np.ones(N)
    scores[:100], scores[100:150] = 2, 0
    found = win_rate(bootstrap, scores, base, **AGAINST)
    assert found.value == pytest.approx((100 + 250 / 2) / N)
    assert found.metric == "green.win_rate_vs_sft"


def test_win_rate_by_length_by_hand():
    ids = [str(i) for i in range(40)]
    boot = Bootstrap(ids, seed=1, resamples=50)
    more = np.repeat([-5, 0, 0, 10], 10)  # the half of equal lengths stays together
    wins = np.array([1] * 5 + [0] * 5 + [1] * 10 + [0] * 10 + [1] * 9 + [0])
    groups = win_rate_by_length(boot, wins, np.full(40, 0.5), 50 + more, np.full(40, 50), groups=4, **AGAINST)
    assert [(g.fewest_words, g.most_words) for g in groups] == [(-5, -5), (0, 0), (10, 10)]
    assert [g.win_rate.value for g in groups] == [0.5, 0.5, 0.9]
    assert [g.win_rate.n for g in groups] == [10, 20, 10]
    assert groups[0].win_rate.method == "no interval: 10 clusters, fewer than 20"
    assert groups[1].win_rate.low is not None
    assert [g.win_rate.metric[-12:] for g in groups] == ["group_1_of_4", "group_2_of_4", "group_4_of_4"]


def test_deciles_hold_all_studies_and_show_what_length_does(bootstrap):
    scores, base, words, base_words = written(4, gain=0, per_word=0.01)
    groups = win_rate_by_length(bootstrap, scores, base, words, base_words, **AGAINST)
    assert len(groups) == 10
    assert sum(g.win_rate.n for g in groups) == N
    assert all(a.most_words < b.fewest_words for a, b in itertools.pairwise(groups))
    assert groups[0].win_rate.high < 0.5 < groups[-1].win_rate.low
    assert win_rate_by_length(bootstrap, [None] * N, base, words, base_words, **AGAINST) == []
    holed = [None, *scores[1:]]
    assert sum(g.win_rate.n for g in win_rate_by_length(bootstrap, holed, base, words, base_words, **AGAINST)) == N - 1


def test_a_policy_that_only_writes_more_wins_but_not_at_equal_lengths(bootstrap):
    values = written(5, gain=0, per_word=0.01)
    assert win_rate(bootstrap, *values[:2], **AGAINST).low > 0.55
    controlled = length_controlled_win_rate(bootstrap, *values, **AGAINST)
    assert controlled.low < 0.5 < controlled.high
    assert controlled.metric == "green.lc_win_rate_vs_sft"


def test_a_policy_that_writes_better_wins_at_equal_lengths_too(bootstrap):
    values = written(6, gain=0.15, per_word=0)
    controlled, plain = (
        length_controlled_win_rate(bootstrap, *values, **AGAINST),
        win_rate(bootstrap, *values[:2], **AGAINST),
    )
    assert controlled.low > 0.6
    assert controlled.low < plain.value < controlled.high


def test_length_controlled_win_rate_covers_the_model_it_assumes():
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        more = rng.normal(10, 20, N)
        wins = rng.random(N) < 1 / (1 + np.exp(-(0.4 + 0.9 * np.tanh(more / more.std()))))
        boot = Bootstrap(IDS, seed=seed, resamples=200)
        found = length_controlled_win_rate(boot, wins, np.full(N, 0.5), 50 + more, np.full(N, 50), **AGAINST)
        held.append(found.low <= 1 / (1 + np.exp(-0.4)) <= found.high)
    assert 0.78 <= np.mean(held) <= 0.99


def test_equal_lengths_give_the_plain_win_rate(bootstrap):
    scores, base, words, _ = written(7, gain=0.1, per_word=0)
    controlled = length_controlled_win_rate(bootstrap, scores, base, words, words, **AGAINST)
    plain = win_rate(bootstrap, scores, base, **AGAINST)
    assert (controlled.value, controlled.low, controlled.high) == pytest.approx(
        (plain.value, plain.low, plain.high), abs=1e-4
    )


@pytest.mark.parametrize(("score", "wanted"), [(1, 1.0), (0, 0.0), (0.5, 0.5)])
def test_winning_all_or_none_is_finite(bootstrap, score, wanted):
    words = np.random.default_rng(8).integers(20, 80, N)
    found = length_controlled_win_rate(bootstrap, np.full(N, score), np.full(N, 0.5), words, np.full(N, 50), **AGAINST)
    assert found.value == pytest.approx(wanted, abs=1e-3)
    assert found.low is not None


def test_length_alone_deciding_is_finite(bootstrap):
    words = np.random.default_rng(9).integers(20, 80, N)
    found = length_controlled_win_rate(bootstrap, words > 50, np.full(N, 0.5), words, np.full(N, 50), **AGAINST)
    assert 0 < found.low <= found.value <= found.high < 1
    assert length_controlled_win_rate(bootstrap, [None] * N, words, words, words, **AGAINST).value is None


def test_logistic_equals_a_general_optimizer_on_repeated_rows():
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=60), rng.integers(0, 3, 60) / 2
    weights = rng.integers(0, 4, (5, 60)).astype(float)
    for found, w in zip(logistic(weights, y, x), weights, strict=True):
        rows = np.repeat(np.arange(60), w.astype(int))

        def loss(at, rows=rows):
            z = at[0] + at[1] * x[rows]
            return np.sum(np.logaddexp(0, z) - y[rows] * z) + 0.5e-3 * np.sum(at**2)

        assert found == pytest.approx(minimize(loss, [0, 0], tol=1e-10).x, abs=1e-4)
