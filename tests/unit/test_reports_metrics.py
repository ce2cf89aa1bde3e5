"""The metrics of written reports, counted by hand on ten of them."""

import math

import pytest

from chexalign.evaluate.labels import label_table
from chexalign.evaluate.reports import PolicyResults, Truth, compare, estimate, measure, repetition
from chexalign.judges.chexbert import FIVE
from chexalign.judges.chexpert import FINDINGS
from chexalign.stats import Bootstrap, PairedTests
from chexalign.types import Prediction, Score, Study

HEART, FLUID, AIR = "The heart is enlarged.", "There is a left pleural effusion.", "There is a right pneumothorax."
CLEAR = "The lungs are clear."
C, E, P = "Cardiomegaly/mild", "Pleural Effusion/left", "Pneumothorax/right"

# What the radiologist wrote, what the indexer coded, what the policy wrote.
TEN = [
    (HEART, (C,), HEART),
    (FLUID, (E,), CLEAR),
    (CLEAR, ("normal",), HEART),
    (f"{HEART} {FLUID}", (C, E), f"{FLUID} {HEART}"),
    (AIR, (P,), AIR),
    (CLEAR, ("normal",), CLEAR),
    (CLEAR, ("normal",), f"{CLEAR} {CLEAR}"),
    (HEART, (C,), FLUID),
    (FLUID, ("normal",), FLUID),
    (CLEAR, (C,), CLEAR),
]


def study(i, reference, codes):
    return Study(f"s{i}", f"p{i}", (), None, reference, None, codes, "test", "hand", "CC0")


def prediction(i, policy, text, finish="stop"):
    return Prediction(f"s{i}", policy, text, len(text.split()), finish)


def results_of(ten):
    """The truth, a policy, and a baseline that calls every study normal."""
    truth = Truth.of([study(i, reference, codes) for i, (reference, codes, _) in enumerate(ten)])
    scores = {"green": [None if i % 10 == 4 else i % 10 / 10 for i in range(len(ten))]}
    written = [prediction(i, "dpo", text, "length" if i % 10 == 3 else "stop") for i, (_, _, text) in enumerate(ten)]
    normal = [prediction(i, "sft", CLEAR) for i in range(len(ten))]
    zeros = {"green": [0.0] * len(ten)}
    return truth, [measure("sft", truth, normal, zeros), measure("dpo", truth, written, scores)]


def estimates_of(ten):
    truth, results = results_of(ten)
    bootstrap = Bootstrap([s.patient_id for s in truth.studies], seed=1, resamples=200)
    return estimate(truth, results, bootstrap, split="test", baseline="sft")


@pytest.fixture(scope="module")
def ten():
    return estimates_of(TEN)


@pytest.fixture(scope="module")
def thirty():
    return estimates_of(TEN * 3)


def find(estimates, metric, policy="dpo", baseline=None):
    (found,) = [e for e in estimates if (e.metric, e.policy, e.baseline) == (metric, policy, baseline)]
    return found


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        # 5 hits; called but not true: heart in 2, fluid in 7; true but not called: fluid in 1, heart in 7
        ("chexpert.micro_f1_13", 2 * 5 / (2 * 5 + 2 + 2)),
        ("chexpert.macro_f1_13", (4 / 6 + 4 / 6 + 1) / 3),
        # heart true in 0, 3, 7, 9 and called in 0, 2, 3; fluid true in 1, 3 and called in 3, 7, 8
        ("mesh.micro_f1_13", 2 * 4 / (2 * 4 + 3 + 3)),
        ("mesh.macro_f1_13", (4 / 7 + 2 / 5 + 1) / 3),
        ("mesh.f1.Cardiomegaly", 4 / 7),
        ("mesh.f1.Pleural Effusion", 2 / 5),
        ("mesh.f1.Pneumothorax", 1.0),
        ("mesh.f1.Edema", None),
        # normal in truth: 2, 5, 6, 9; called normal: 1, 5, 6, 9
        ("no_finding.micro_f1_1", 2 * 3 / (2 * 3 + 1 + 1)),
        ("green", sum(i / 10 for i in range(10) if i != 4) / 9),
        ("truncated", 0.1),
        ("repetition", 0.5 / 10),
        ("findings_per_report", 7 / 10),
    ],
)
def test_values_by_hand(ten, metric, value):
    assert find(ten, metric).value == (pytest.approx(value) if value is not None else None)


def test_words_by_hand(ten):
    words = [len(text.split()) for _, _, text in TEN]
    references = [len(reference.split()) for reference, _, _ in TEN]
    assert find(ten, "words").value == pytest.approx(sum(words) / 10)
    ratios = [w / r for w, r in zip(words, references, strict=True)]
    assert find(ten, "words_vs_reference").value == pytest.approx(sum(ratios) / 10)
    assert find(ten, "words", "reference").value == pytest.approx(sum(references) / 10)
    assert find(ten, "findings_per_report", "reference").value == pytest.approx(7 / 10)


def test_a_policy_that_calls_all_normal_has_no_f1_but_a_good_no_finding(ten):
    assert find(ten, "chexpert.micro_f1_13", "sft").value == 0.0
    assert find(ten, "mesh.micro_f1_13", "sft").value == 0.0
    assert find(ten, "no_finding.micro_f1_1", "sft").value == pytest.approx(2 * 4 / (2 * 4 + 6))


def test_no_finding_is_in_no_other_metric(ten):
    assert not [e.metric for e in ten if "No Finding" in e.metric or "_14" in e.metric]
    assert len([e for e in ten if e.metric.startswith("mesh.f1.") and e.policy == "dpo"]) == len(FINDINGS) == 13


def test_a_missing_score_is_left_out_and_told(ten):
    found = find(ten, "green")
    assert found.n == 9
    assert "1 of 10 rows unscored" in found.method
    assert find(ten, "green", baseline="sft").n == 9


def test_every_policy_but_the_baseline_has_differences(ten):
    plain = {e.metric for e in ten if e.policy == "dpo" and e.baseline is None}
    paired = {e.metric for e in ten if e.policy == "dpo" and e.baseline == "sft"}
    assert paired == {m for m in plain if not m.startswith("mesh.f1.")}
    assert not [e for e in ten if e.policy in ("sft", "reference") and e.baseline]


def test_a_difference_is_the_policy_minus_the_baseline(ten):
    metrics = ("chexpert.micro_f1_13", "chexpert.macro_f1_13", "mesh.micro_f1_13", "no_finding.micro_f1_1", "words")
    for metric in metrics:
        gap = find(ten, metric).value - find(ten, metric, "sft").value
        assert find(ten, metric, baseline="sft").value == pytest.approx(gap)


def test_ten_studies_are_too_few_for_intervals(ten):
    assert all(e.low is e.high is None for e in ten)
    assert all(e.split == "test" for e in ten)


def test_intervals_lie_around_their_values(thirty, ten):
    for e in thirty:
        if e.value is not None and not e.metric.startswith("mesh.f1."):
            assert e.low is not None
            assert e.low <= e.value <= e.high
            assert e.n == e.n_clusters == (27 if (e.metric, e.policy) == ("green", "dpo") else 30)
            assert e.level == 0.90
    for metric in ("chexpert.micro_f1_13", "mesh.macro_f1_13", "words"):
        assert find(thirty, metric).value == pytest.approx(find(ten, metric).value)
    assert find(thirty, "chexpert.micro_f1_13", baseline="sft").excludes_zero


def test_estimates_follow_from_the_seed(thirty):
    assert estimates_of(TEN * 3) == thirty


def test_each_estimate_has_a_name_of_its_own(ten):
    names = [(e.metric, e.policy, e.baseline) for e in ten]
    assert len(set(names)) == len(names)


def test_the_truth_keeps_text_and_codes_apart():
    truth, _ = results_of(TEN)
    heart = FINDINGS.index("Cardiomegaly")
    assert truth.reference.shape == (10, 14)
    assert truth.codes.shape == (10, 13)
    assert not truth.reference[9, heart]
    assert truth.codes[9, heart]


def test_values_per_study_keep_their_order():
    _, (_, dpo) = results_of(TEN)
    assert isinstance(dpo, PolicyResults)
    assert dpo.values["truncated"].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert math.isnan(dpo.values["green"][4])


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("...", 0.0),
        ("The lungs are clear.", 0.0),
        ("The lungs are clear. The lungs are clear.", 1 / 2),
        ("the lungs are clear.  THE LUNGS ARE CLEAR!", 1 / 2),
        ("One. Two. One. One. Two", 3 / 5),
        ("A nodule of 1.5 cm. A nodule of 1.5 cm.", 1 / 2),
        ("No effusion. No edema.", 0.0),
    ],
)
def test_repetition_by_hand(text, share):
    assert repetition(text) == pytest.approx(share)


SIX = (*sorted(FIVE), "No Finding")


def labeled(i, said, true):
    """A score as CheXbert's judge gives it, with the labels of both texts by name."""
    parts = {f"candidate.{name}": float(name in said) for name in SIX}
    parts |= {f"reference.{name}": float(name in true) for name in SIX}
    return Score(f"s{i}", "chexbert@1", 0.5, tuple(parts.items()))


def test_labels_of_a_judge_are_found_by_name_and_what_is_unscored_is_left_out():
    scores = [labeled(0, {"Edema"}, {"Edema", "Consolidation"}), Score("s1", "chexbert@1", None, (), "error", "none")]
    table = label_table(scores)
    assert table.labels == SIX
    assert dict(zip(SIX, table.true[0], strict=True))["Consolidation"] == 1
    assert all(math.isnan(value) for value in table.called[1])
    assert table.subsets == (tuple(sorted(FIVE)),)
    assert label_table([Score("s1", "green@1", 0.5, (("matched", 1.0),))]) is None


def test_a_judge_that_tells_labels_has_its_f1_in_estimates_and_tests():
    truth, (sft, dpo) = results_of(TEN * 3)
    true = [{"Edema"} if i % 2 else {"No Finding"} for i in range(30)]
    right = label_table([labeled(i, said, said) for i, said in enumerate(true)])
    wrong = label_table([labeled(i, {"No Finding"}, said) for i, said in enumerate(true)])
    results = [
        PolicyResults(sft.name, sft.labels, sft.values, {"chexbert": wrong}),
        PolicyResults(dpo.name, dpo.labels, dpo.values, {"chexbert": right}),
    ]
    patients = [s.patient_id for s in truth.studies]
    found = estimate(truth, results, Bootstrap(patients, seed=1, resamples=100), split="test", baseline="sft")
    assert find(found, "chexbert.micro_f1_6").value == 1
    assert find(found, "chexbert.micro_f1_6", "sft").value == 0.5
    assert find(found, "chexbert.average_f1", baseline="sft").low > 0
    tests = compare(truth, results, PairedTests(patients, seed=1, flips=999), judges=["green"], baseline="sft")
    by_metric = {test.metric: test for test in tests}
    assert by_metric.keys() >= {"green", "chexpert.micro_f1_13", "mesh.macro_f1_13", "chexbert.macro_f1_5"}
    assert by_metric["chexbert.micro_f1_6"].p_holm < 0.05
    assert all(test.policy == "dpo" and test.p <= test.p_holm for test in tests if test.p is not None)
