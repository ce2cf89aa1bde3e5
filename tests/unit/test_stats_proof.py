"""What the statistics are for: noise is not taken for an effect, and an effect that was planted is found.

Every share below is over the same fixed seeds; its bounds are about three standard deviations of a binomial wide.
"""

import numpy as np
import pytest

from chexalign.stats import Bootstrap, PairedTests, with_holm

N = 150
SEEDS = range(100)
IDS = [f"s{i:03d}" for i in range(N)]
PATIENTS = [f"p{i // 3:03d}" for i in range(N)]
AGAINST = {"metric": "m", "policy": "dpo", "baseline": "sft"}
PREVALENCE, FALSE_ALARM = np.array([0.5, 0.3, 0.2, 0.15]), 0.1


def called(rng, true, sensitivity):
    """Labels of a system that finds this share of what is true, and calls a tenth of what is not."""
    return rng.random(true.shape) < np.where(true, sensitivity, FALSE_ALARM)


def f1_of(sensitivity):
    """Micro and macro F1 of such a system over endlessly many studies."""
    hits, calls = PREVALENCE * sensitivity, PREVALENCE * sensitivity + (1 - PREVALENCE) * FALSE_ALARM
    return 2 * hits.sum() / (PREVALENCE + calls).sum(), (2 * hits / (PREVALENCE + calls)).mean()


def values(seed, gain):
    """Scores of two systems: the first is the second plus noise, and better by `gain` on average."""
    rng = np.random.default_rng(seed)
    base = rng.beta(0.8, 2, N)
    return base + rng.normal(gain, 0.2, N), base


def labels(seed, sensitivity):
    """Truth and two systems that share half of their calls; the second finds half of what is true."""
    rng = np.random.default_rng(seed)
    true = rng.random((N, 4)) < PREVALENCE
    base, other = called(rng, true, 0.5), called(rng, true, sensitivity)
    if sensitivity != 0.5:
        return true, other, base
    return true, np.where(rng.random(true.shape) < 0.5, base, other), base


def estimates(seed, gain, sensitivity, interval):
    bootstrap = Bootstrap(IDS, seed=seed, resamples=400, interval=interval)
    name = AGAINST | {"split": "test"}
    return [
        bootstrap.difference(*values(seed, gain), **name),
        *bootstrap.f1_difference(*labels(seed, sensitivity), **name),
    ]


def comparisons(seed, gain, sensitivity):
    tests = PairedTests(IDS, seed=seed, flips=299)
    return [tests.mean(*values(seed, gain), **AGAINST), *tests.f1(*labels(seed, sensitivity), **AGAINST)]


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_noise_is_taken_for_an_effect_as_seldom_as_the_level_says(interval):
    shares = np.mean([[e.excludes_zero for e in estimates(s, 0, 0.5, interval)] for s in SEEDS], axis=0)
    assert (shares <= 0.19).all()
    assert (shares >= 0.02).all()


def test_p_of_noise_is_small_as_seldom_as_it_says():
    ps = np.array([[c.p for c in comparisons(s, 0, 0.5)] for s in SEEDS])
    for level in (0.1, 0.5):
        wide = 3 * np.sqrt(level * (1 - level) / len(SEEDS))
        assert abs((ps <= level).mean(axis=0) - level).max() <= wide


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_a_planted_effect_is_found_with_the_right_sign_and_size(interval):
    truth = [0.1, *np.subtract(f1_of(0.8), f1_of(0.5))]
    found = [estimates(s, 0.1, 0.8, interval) for s in SEEDS]
    assert np.mean([[e.excludes_zero and e.value > 0 for e in row] for row in found]) >= 0.99
    held = np.mean([[e.low <= t <= e.high for e, t in zip(row, truth, strict=True)] for row in found], axis=0)
    assert (held >= 0.81).all()
    assert (held <= 0.98).all()
    assert np.mean([[e.value for e in row] for row in found], axis=0) == pytest.approx(truth, rel=0.05)


def test_a_planted_effect_is_found_by_the_tests_of_all_metrics_together():
    found = [with_holm(comparisons(s, 0.1, 0.8)) for s in SEEDS]
    assert np.mean([[c.p_holm <= 0.05 and c.delta > 0 for c in row] for row in found]) >= 0.99


def test_holm_keeps_the_chance_of_any_false_finding():
    plain, corrected = [], []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        tests = PairedTests(IDS, seed=seed, flips=399)
        rows = with_holm([tests.mean(rng.normal(size=N), rng.normal(size=N), **AGAINST) for _ in range(8)])
        plain.append(any(c.p <= 0.1 for c in rows))
        corrected.append(any(c.p_holm <= 0.1 for c in rows))
    assert np.mean(plain) >= 0.4  # 1 - 0.9 ** 8 = 0.57
    assert np.mean(corrected) <= 0.19


def test_rows_of_one_patient_that_agree_count_once():
    few = [f"p{i:03d}" for i in range(N // 3)]
    rng = np.random.default_rng(5)
    x, y = rng.normal(0.1, 1, (2, N // 3))
    true, first, second = rng.random((3, N // 3, 4)) < 0.4
    name = AGAINST | {"split": "test"}
    for interval in ("percentile", "bca"):
        once = Bootstrap(few, seed=1, resamples=200, interval=interval)
        thrice = Bootstrap(PATIENTS, seed=1, resamples=200, interval=interval)
        pairs = [
            (once.difference(x, y, **name), thrice.difference(np.repeat(x, 3), np.repeat(y, 3), **name)),
            *zip(
                once.f1_difference(true, first, second, **name),
                thrice.f1_difference(*(np.repeat(t, 3, axis=0) for t in (true, first, second)), **name),
                strict=True,
            ),
        ]
        for one, three in pairs:
            assert (three.value, three.low, three.high) == pytest.approx((one.value, one.low, one.high), abs=1e-12)
    tests = [PairedTests(c, seed=1, flips=199) for c in (few, PATIENTS)]
    assert tests[0].mean(x, y, **AGAINST).p == tests[1].mean(np.repeat(x, 3), np.repeat(y, 3), **AGAINST).p
    many = [np.repeat(t, 3, axis=0) for t in (true, first, second)]
    assert [c.p for c in tests[0].f1(true, first, second, **AGAINST)] == [c.p for c in tests[1].f1(*many, **AGAINST)]


def test_taking_rows_of_a_patient_for_independent_finds_what_is_not_there():
    apart, together = [], []
    for seed in SEEDS:
        gap = np.repeat(np.random.default_rng(seed).normal(size=N // 3), 3)
        apart.append(PairedTests(IDS, seed=seed, flips=199).mean(gap, np.zeros(N), **AGAINST).p)
        together.append(PairedTests(PATIENTS, seed=seed, flips=199).mean(gap, np.zeros(N), **AGAINST).p)
    assert np.mean(np.array(apart) <= 0.1) >= 0.2
    assert np.mean(np.array(together) <= 0.1) <= 0.19
