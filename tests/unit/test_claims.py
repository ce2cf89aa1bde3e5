"""A claim of a report holds exactly when the intervals say so, and cannot be told where there are none."""

from __future__ import annotations

import pytest

from chexalign.present.claims import COIN, LABEL_F1, ArmOutline, claims
from chexalign.types import Estimate

ARM = ArmOutline("arm", "bertscore", "best_worst")
NULL = ArmOutline("null", "chexpert", COIN)


def difference(metric: str, policy: str, low: float | None, high: float | None) -> Estimate:
    value = None if low is None or high is None else (low + high) / 2
    return Estimate(metric, policy, "test", value, low, high, 0.90, 40, 40, "no value: nothing to average", "sft")


def level(policy: str, value: float | None) -> Estimate:
    return Estimate(LABEL_F1, policy, "test", value, None, None, 0.90, 40, 40, "no interval: one cluster")


def test_a_planted_gain_holds_for_the_judge_and_for_the_labels():
    own, label = claims([difference("bertscore", "arm", 0.01, 0.03), difference(LABEL_F1, "arm", 0.02, 0.06)], [ARM])
    assert own.holds is label.holds is True
    assert "raises BERTScore" in own.text
    assert "+0.020 [+0.010, +0.030]" in own.evidence
    assert "label F1 against the human codes" in label.text
    assert "+0.040 [+0.020, +0.060]" in label.evidence


@pytest.mark.parametrize(("low", "high"), [(-0.01, 0.03), (0.0, 0.02), (-0.03, -0.01)])
def test_an_interval_that_is_not_above_zero_is_no_gain(low, high):
    own, label = claims([difference("bertscore", "arm", 0.01, 0.03), difference(LABEL_F1, "arm", low, high)], [ARM])
    assert (own.holds, label.holds) == (True, False)


@pytest.mark.parametrize(
    ("own", "label", "holds"),
    [
        ((-0.02, 0.02), (-0.01, 0.01), True),
        ((-0.05, -0.02), (-0.01, 0.01), True),  # a loss is no gain
        ((0.01, 0.02), (-0.01, 0.01), False),
        ((-0.02, 0.02), (0.01, 0.02), False),
    ],
)
def test_a_null_that_gains_does_not_hold(own, label, holds):
    (claim,) = claims([difference("chexpert", "null", *own), difference(LABEL_F1, "null", *label)], [NULL])
    assert claim.holds is holds
    assert "coin" in claim.text


@pytest.mark.parametrize("arm", [ARM, NULL])
def test_without_an_interval_it_cannot_be_told(arm):
    found = claims([difference(arm.judge, arm.name, None, None), difference(LABEL_F1, arm.name, None, None)], [arm])
    assert {claim.holds for claim in found} == {None}
    assert all("no value: nothing to average" in claim.evidence for claim in found)


def test_a_null_with_one_missing_interval_cannot_be_told():
    (claim,) = claims([difference("chexpert", "null", -0.1, 0.1), difference(LABEL_F1, "null", None, None)], [NULL])
    assert claim.holds is None


def test_an_arm_whose_judge_is_no_metric_of_the_run_has_no_claim():
    assert claims([difference(LABEL_F1, "arm", 0.1, 0.2)], [ARM]) == []


def test_the_value_of_a_policy_is_not_taken_for_its_gain():
    high = Estimate("bertscore", "arm", "test", 0.6, 0.5, 0.7, 0.90, 40, 40, "bootstrap")
    assert claims([high, difference(LABEL_F1, "arm", 0.1, 0.2)], [ARM]) == []


@pytest.mark.parametrize(
    ("own_image", "shuffled", "holds"),
    [
        (0.40, 0.20, True),
        (0.40, 0.21, False),
        (0.40, 0.0, True),
        (0.0, 0.0, False),
        (None, 0.1, None),
        (0.4, None, None),
    ],
)
def test_the_image_is_used_when_label_f1_doubles_over_another_studys_image(own_image, shuffled, holds):
    (claim,) = claims([level("sft", own_image), level("sft_shuffled", shuffled)], [])
    assert claim.holds is holds
    assert "against" in claim.evidence


def test_without_the_control_nothing_is_claimed_of_the_image():
    assert claims([level("sft", 0.4)], []) == []
