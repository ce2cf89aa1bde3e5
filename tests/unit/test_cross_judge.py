"""A gain that only the own judge sees is told from one that all see."""

import numpy as np
import pytest

from chexalign.evaluate.cross_judge import GAP, cross_judge, disagreements
from chexalign.evaluate.reports import PolicyResults
from chexalign.stats import Bootstrap

N = 200
IDS = [f"s{i:03}" for i in range(N)]
NO_LABELS = np.zeros((N, 14), dtype=bool)


@pytest.fixture(scope="module")
def base():
    rng = np.random.default_rng(3)
    scales = {"green": 0.2, "lc-green": 0.2, "rouge_l": 5.0, "flat": 0.0}
    return PolicyResults("sft", NO_LABELS, {judge: rng.normal(size=N) * scale for judge, scale in scales.items()})


def shifted(base, **shifts):
    values = {judge: found + shifts.get(judge, 0.0) for judge, found in base.values.items()}
    return PolicyResults("dpo", NO_LABELS, values)


def found(result, base, own="green"):
    judges = list(base.values)
    estimates = cross_judge(result, base, Bootstrap(IDS, seed=1, resamples=100), own=own, judges=judges, split="test")
    assert all(estimate.baseline == "sft" for estimate in estimates)
    return {estimate.metric: estimate.value for estimate in estimates}


def test_a_gain_that_all_judges_see_leaves_no_gap(base):
    by = found(shifted(base, green=0.2, rouge_l=5.0), base)
    assert by["gain_sd.green"] == pytest.approx(0.2 / base.values["green"].std(ddof=1))
    assert abs(by[GAP]) < 0.2


def test_a_gain_that_only_the_own_judge_sees_is_the_gap(base):
    by = found(shifted(base, green=0.2, **{"lc-green": 0.2}), base)
    assert by[GAP] == pytest.approx(by["gain_sd.green"])  # lc-green is the own judge in another form
    assert "gain_sd.flat" not in by


def test_without_another_judge_there_is_no_gap(base):
    alone = PolicyResults("sft", NO_LABELS, {"green": base.values["green"]})
    assert GAP not in found(shifted(alone, green=0.1), alone)


def test_studies_that_judges_see_differently_come_first_and_unscored_ones_never(base):
    dpo = shifted(base)
    dpo.values["green"][7] += 1.0
    dpo.values["rouge_l"][7] -= 20.0
    dpo.values["rouge_l"][9] = np.nan
    dpo.values["green"][9] += 50.0
    (first,) = disagreements(dpo, base, IDS, judges=["green", "rouge_l", "flat"])
    assert (first.study_id, first.policy) == ("s007", "dpo")
    assert first.gains["green"] > 0 > first.gains["rouge_l"]
    assert disagreements(dpo, base, IDS, judges=["green", "flat"]) == []
