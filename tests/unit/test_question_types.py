"""Numbers by type of question: planted effects are found with their sign and size, and chance is not taken for one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from chexalign.evaluate.answers import answer
from chexalign.evaluate.question_types import Typed, TypeResults, affirming, measure_types
from chexalign.evaluate.tasks import Asked, measure_tasks, task_estimates
from chexalign.evaluate.type_numbers import TypeNumbers
from chexalign.policy.base import Completion
from chexalign.stats import Bootstrap, PairedTests
from chexalign.types import Evidence, Question

CHOOSE = Question(
    id="q",
    patient_id="p",
    study_id="s",
    task="vqa",
    part="all",
    kind="basic",
    answer_type="choose",
    text="Which of these is seen?",
    options=("edema", "mass"),
    answers=("edema",),
    images=(),
    split="test",
    source="hand",
    license="CC0",
)
VERIFY = replace(CHOOSE, answer_type="verify", options=("yes", "no"), answers=("no",))
LISTED = replace(CHOOSE, answer_type="query", options=("edema", "mass", "fracture"), answers=("edema", "mass"))
ABSENT = (Evidence("label", "edema", present=False),)
KINDS = ("basic", "region", "compare")


def many(n, *, patients=None, of=CHOOSE, kinds=KINDS):
    """Questions of several kinds in turn, several to a patient."""
    return [
        replace(of, id=f"{of.answer_type}{i}", patient_id=f"p{i % (patients or n)}", kind=kinds[i % len(kinds)])
        for i in range(n)
    ]


def write(questions, texts, name="sft", logps=None):
    """What a policy wrote, read; None where it was not asked."""
    return [
        answer(question, name, 0, Completion(text, 1, None, "stop", (logp,), (text,)))
        for question, text, logp in zip(questions, texts, logps or [-0.1] * len(questions), strict=True)
        if text is not None
    ]


def numbers(questions, written, *, baselines=("sft",), resamples=300, how=None):
    """The numbers of policies by name, from what each wrote."""
    asked = Asked(questions)
    typed = Typed(asked)
    results = [
        measure_types(typed, measure_tasks(name, asked, answers), answers, **(how or {}))
        for name, answers in written.items()
    ]
    return TypeNumbers(typed, results, baselines, Bootstrap(asked.patients, seed=1, resamples=resamples), "test")


def by_key(estimates):
    return {(e.metric, e.policy, e.baseline): e for e in estimates}


def test_a_planted_effect_is_found_with_its_sign_and_size():
    rng = np.random.default_rng(3)
    questions = many(900, patients=300)
    right = rng.random(900) < 0.6
    better = right | ((rng.random(900) < 0.5) & np.array([q.kind == "region" for q in questions]))
    worse = right & (rng.random(900) < 0.8)
    written = {
        name: write(questions, ["edema" if one else "mass" for one in found], name)
        for name, found in {"sft": right, "better": better, "worse": worse}.items()
    }
    of = numbers(questions, written)
    found, region = by_key(of.estimates()), np.array([q.kind == "region" for q in questions])
    planted = better[region].mean() - right[region].mean()
    gap, gain = (found[f"vqa.region.{name}", "better", "sft"] for name in ("accuracy", "relative_gain"))
    assert gap.value == pytest.approx(planted)
    assert gain.value == pytest.approx(planted / right[region].mean())
    assert gain.low > 0.1
    assert gain.low < 0.2 / 0.6 < gain.high
    assert (gain.n, gain.n_clusters) == (300, 100)
    assert found["vqa.compare.relative_gain", "better", "sft"].value == 0
    assert found["vqa.all.relative_gain", "worse", "sft"].high < 0
    assert found["vqa.choose.accuracy", "worse", None].value == pytest.approx(worse.mean())
    tests = {(c.metric, c.policy): c for c in of.comparisons(PairedTests(of.typed.asked.patients, seed=1, flips=999))}
    assert {metric for metric, policy in tests if policy == "better"} == {f"vqa.{kind}.accuracy" for kind in KINDS}
    assert tests["vqa.region.accuracy", "better"].p_holm < 0.01
    assert tests["vqa.basic.accuracy", "better"].p_holm == 1
    assert all(tests[f"vqa.{kind}.accuracy", "worse"].p_holm < 0.05 for kind in KINDS)


def test_noise_alone_is_not_significant():
    questions = many(600, patients=200)
    seen = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        right = rng.random(600) < 0.6
        flipped = right ^ (rng.random(600) < np.where(right, 0.1, 0.15))  # as many gained as lost
        written = {
            name: write(questions, ["edema" if one else "mass" for one in found], name)
            for name, found in {"sft": right, "dpo": flipped}.items()
        }
        of = numbers(questions, written, resamples=1)
        tests = of.comparisons(PairedTests(of.typed.asked.patients, seed=seed, flips=199))
        seen += any(test.p_holm < 0.05 for test in tests)
    assert seen <= 4


def test_intervals_of_a_relative_gain_hold_the_true_one_about_as_often_as_they_say():
    typed, nothing = Typed(Asked(many(300, kinds=("basic",)))), np.full(300, np.nan)
    held, n = 0, 80
    for seed in range(n):
        rng = np.random.default_rng(seed)
        right = (rng.random(300) < 0.5).astype(float)
        gained = np.maximum(right, rng.random(300) < 0.1)  # 0.55 of 0.5
        results = [
            TypeResults(name, found, np.zeros((0, 0)), nothing, nothing)
            for name, found in {"sft": right, "dpo": gained}.items()
        ]
        bootstrap = Bootstrap(typed.asked.patients, seed=seed, resamples=300)
        found = by_key(TypeNumbers(typed, results, ("sft",), bootstrap, "test").estimates())
        gain = found["vqa.all.relative_gain", "dpo", "sft"]
        held += gain.low <= 0.1 <= gain.high
    assert 0.8 * n <= held <= 0.98 * n


def test_later_policies_are_compared_with_every_baseline_and_pairs_come_once():
    questions = many(60)
    written = {name: write(questions, ["edema"] * 60, name) for name in ("sft", "random", "mined")}
    found = by_key(numbers(questions, written, baselines=("sft", "random"), resamples=20).estimates())
    pairs = {(policy, baseline) for metric, policy, baseline in found if metric == "vqa.all.accuracy" and baseline}
    assert pairs == {("random", "sft"), ("mined", "sft"), ("mined", "random")}


def test_sets_of_labels_have_both_f1_and_what_cannot_be_read_names_nothing():
    questions = many(40, of=LISTED)
    texts = ["edema, fracture" if i % 2 else "perhaps something" for i in range(40)]
    of = numbers(questions, {"sft": write(questions, texts)}, resamples=20)
    found = by_key(of.estimates())
    micro, macro = (found[f"vqa.query.{name}_f1", "sft", None] for name in ("micro", "macro"))
    assert micro.value == pytest.approx(2 * 20 / (80 + 40))
    assert macro.value == pytest.approx((2 * 20 / 60 + 0) / 2)  # edema, mass; fracture is right nowhere
    assert "1 of 3 labels" in macro.method
    task = task_estimates(
        of.typed.asked,
        [measure_tasks("sft", of.typed.asked, write(questions, texts))],
        of.bootstrap,
        split="test",
        baseline="sft",
    )
    assert next(e for e in task if e.metric == "task.vqa.micro_f1").value == pytest.approx(micro.value)
    assert found["vqa.all.accuracy", "sft", None].value == 0
    assert not any(metric.endswith("f1") for metric, *_ in by_key(numbers(many(9), {"sft": []}).estimates()))


@pytest.mark.parametrize(
    ("question", "answers"),
    [
        (replace(VERIFY, evidence=ABSENT), {"yes"}),
        (replace(VERIFY, options=(), evidence=ABSENT), {"yes"}),
        (VERIFY, set()),  # no evidence, as for a view
        (replace(VERIFY, evidence=(Evidence("label", "edema"),)), set()),  # not on that side, say
        (replace(VERIFY, answers=("yes",), evidence=ABSENT), set()),  # it has resolved
        (replace(CHOOSE, evidence=(*ABSENT, Evidence("label", "mass", present=False))), {"mass"}),
        (replace(CHOOSE, answers=("mass",), evidence=(Evidence("code", "Edema/left", present=False),)), {"edema"}),
        (replace(LISTED, evidence=(Evidence("label", "fracture/right", present=False),)), {"fracture"}),
        (replace(LISTED, evidence=(Evidence("label", "nodule", present=False),)), set()),  # none of the options
        (replace(CHOOSE, answer_type="open", options=(), evidence=ABSENT), set()),
    ],
)
def test_which_answers_affirm_what_is_absent(question, answers):
    assert affirming(question) == answers


def test_hallucinations_by_hand():
    asked_about = replace(VERIFY, evidence=ABSENT)
    offered = replace(LISTED, evidence=(Evidence("label", "fracture", present=False),))
    said = [
        (asked_about, "Yes."),  # 1
        (asked_about, "No."),  # 0
        (asked_about, "I cannot tell"),  # 0, cannot be read
        (asked_about, None),  # not answered: not counted
        (VERIFY, "Yes."),  # nothing absent: not counted
        (offered, "edema, fracture"),  # 1
        (offered, "edema"),  # 0, wrong all the same
    ]
    questions = [replace(question, id=f"q{i}", patient_id=f"p{i}") for i, (question, _) in enumerate(said)]
    texts = [text for _, text in said]
    better = [text and text.replace("Yes", "No") for text in texts]
    of = numbers(questions, {"sft": write(questions, texts), "dpo": write(questions, better, "dpo")}, resamples=20)
    found = by_key(of.estimates())
    mine, gap = found["vqa.hallucination", "sft", None], found["vqa.hallucination", "dpo", "sft"]
    assert (mine.value, mine.n) == (pytest.approx(2 / 5), 5)
    assert (gap.value, gap.n) == (pytest.approx(-1 / 5), 5)


def test_calibration_of_a_calibrated_policy_is_near_zero_in_every_group():
    rng = np.random.default_rng(5)
    questions = many(9000)
    sure = rng.uniform(0.05, 1, 9000)
    texts = ["edema" if one else "mass" for one in rng.random(9000) < sure]
    how = {"aggregate": "minimum", "span": "answer"}
    logps = [math.log(value) for value in sure]
    written = {
        "sft": write(questions, texts, logps=logps),
        "certain": write(questions, texts, "certain", [math.log(0.99)] * 9000),
    }
    of = numbers(questions, written, how=how, resamples=50)
    found = {(c.ece.policy, c.group): c for c in of.calibrations()}
    assert {group for _, group in found} == {"all", *KINDS, "choose"}
    assert found["sft", "all"].ece.value < 0.02
    assert all(found["sft", kind].ece.value < 0.04 for kind in KINDS)
    assert found["certain", "all"].ece.value > 0.3
    assert sum(one.accuracy.n for one in found["sft", "all"].bins) == 9000
    gap = by_key(of.estimates())["vqa.all.ece", "certain", "sft"]
    assert gap.low > 0.3
    assert not numbers(questions[:60], {"sft": written["sft"][:60]}, resamples=20).calibrations()


def test_policies_that_wrote_nothing_have_no_numbers():
    of = numbers(many(30), {"sft": [], "dpo": []}, resamples=20)
    assert of.estimates() == of.calibrations() == []
    assert all(test.p is None for test in of.comparisons(PairedTests(of.typed.asked.patients, seed=1, flips=99)))
