"""Reliability bins and the expected calibration error, on numbers that can be checked by hand and simulated ones."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from chexalign.evaluate.calibration import Calibration, Calibrator
from chexalign.stats import Bootstrap


def calibrator(n, *, resamples=1000, **more):
    bootstrap = Bootstrap([f"p{i}" for i in range(n)], seed=3, resamples=resamples)
    return Calibrator(bootstrap, "sft", "validation", **more)


def test_calibration_by_hand():
    found = calibrator(4, n_bins=2).calibrate("all", [0.5, 0.4, 0.9, 1.0], [True, False, True, False])
    low, high = found.bins
    assert (low.low, low.high, low.confidence.value, low.accuracy.value) == (0.0, 0.5, pytest.approx(0.45), 0.5)
    assert (high.confidence.value, high.accuracy.value, high.accuracy.n) == (pytest.approx(0.95), 0.5, 2)
    assert found.ece.value == pytest.approx((0.05 * 2 + 0.45 * 2) / 4)
    assert (found.ece.low, found.ece.n, found.ece.metric) == (None, 4, "vqa.all.ece")
    assert "fewer than 20" in found.ece.method


def test_answers_without_confidence_are_left_out_and_counted():
    found = calibrator(3).calibrate("all", [0.25, None, 0.0], [True, True, False])
    assert found.ece.value == pytest.approx(0.375)
    assert (found.ece.n, found.bins[0].accuracy.n, found.bins[2].accuracy.n) == (2, 1, 1)
    assert "1 of 3 rows unscored and left out" in found.ece.method
    nothing = calibrator(2).calibrate("all", [None, None], [True, False])
    assert (nothing.ece.value, nothing.ece.n) == (None, 0)


def test_calibration_by_type_and_its_interval():
    rng = np.random.default_rng(5)
    sure = rng.random(400)
    right = rng.random(400) < sure  # calibrated
    types = ["basic" if i % 2 else "compare" for i in range(400)]
    found = calibrator(400).by_type(list(sure), list(right), types)
    assert [c.group for c in found] == ["basic", "compare"]
    for one in found:
        assert one.ece.n == sum(b.accuracy.n for b in one.bins) == 200
        assert 0 < one.ece.low <= one.ece.high < 0.25
    off = calibrator(400).calibrate("all", [0.9] * 400, list(right))
    assert off.ece.low > 0.2


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_confidence_is_a_probability(value):
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrator(1).calibrate("all", [value], [True])


def test_the_error_of_a_calibrated_policy_is_near_zero_and_shrinks_with_more_answers():
    rng = np.random.default_rng(7)
    found = []
    for n in (300, 30_000):
        sure = rng.random(n)
        ece = calibrator(n, resamples=50).calibrate("all", sure, rng.random(n) < sure).ece
        found.append(ece.value)
    assert found[1] < 0.015 < found[0] < 0.12


def test_errors_are_compared_in_pairs():
    rng = np.random.default_rng(9)
    sure = rng.random(600)
    right = rng.random(600) < sure
    of = calibrator(600, resamples=300)
    worse = of.difference("all", (np.minimum(sure + 0.3, 1), right), (sure, right), baseline="sft")
    assert worse.baseline == "sft"
    assert 0 < worse.low < worse.value
    same = of.difference("all", (sure, right), (sure, right), baseline="sft")
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_calibration_is_read_back():
    found = calibrator(30).calibrate("all", [0.25, None, 0.5] * 10, [True, True, False] * 10)
    assert Calibration.of(json.loads(json.dumps(asdict(found)))) == found
