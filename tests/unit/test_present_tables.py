"""Numbers, verdicts, and the tables made of them."""

from __future__ import annotations

import pytest

from chexalign.present.data import Claim, ReportData
from chexalign.present.metrics import in_order, metric_info
from chexalign.present.numbers import EstimateIndex, estimate_text, fixed, verdict
from chexalign.present.tables import markdown_table, terminal_summary
from chexalign.types import Estimate


def estimate(metric="bertscore", policy="sft", value=0.5, low=0.4, high=0.6, *, baseline=None, method="bootstrap"):
    return Estimate(metric, policy, "test", value, low, high, 0.90, 100, 90, method, baseline)


def report(**changes):
    fields = {
        "title": "A run",
        "run_name": "r",
        "recipe_yaml": "run: r\n",
        "notes": [],
        "synthetic": True,
        "stages": [],
        "estimates": [],
        "policies": ["sft", "arm"],
        "headline": [],
        "curves": [],
        "pair_sets": [],
        "cases": [],
        "versions": {},
        "config_digest": "d",
        "generated": "now",
    }
    return ReportData(**(fields | changes))


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [(0.4749, False, "0.475"), (0.02, True, "+0.020"), (-0.0214, True, "-0.021"), (-0.0001, True, "0.000")],
)
def test_fixed_decimals_and_no_sign_on_zero(value, signed, text):
    assert fixed(value, signed=signed) == text


def test_an_estimate_is_written_with_its_interval():
    assert estimate_text(estimate(value=0.4749, low=0.452, high=0.4971)) == "0.475 [0.452, 0.497]"
    assert estimate_text(estimate(value=0.02, low=-0.01, high=0.05, baseline="sft")) == "+0.020 [-0.010, +0.050]"
    assert estimate_text(estimate("words", value=24.94, low=24.0, high=26.0)) == "24.9 [24.0, 26.0]"


def test_a_missing_interval_is_replaced_by_its_reason():
    few = estimate(low=None, high=None, method="no interval: 3 clusters, fewer than 20; 3 true cases")
    assert estimate_text(few) == "0.500 (no interval: 3 clusters, fewer than 20)"
    nothing = estimate(value=None, low=None, high=None, method="no value: nothing to average")
    assert estimate_text(nothing) == "– (no value: nothing to average)"


@pytest.mark.parametrize(
    ("metric", "low", "high", "expected"),
    [
        ("bertscore", 0.01, 0.03, "better"),
        ("bertscore", -0.03, -0.01, "worse"),
        ("bertscore", -0.01, 0.03, "unclear"),
        ("bertscore", 0.0, 0.03, "unclear"),
        ("repetition", 0.01, 0.03, "worse"),
        ("truncated", -0.03, -0.01, "better"),
        ("words", 1.0, 3.0, "changed"),
        ("words", -3.0, -1.0, "changed"),
        ("something_new", 0.01, 0.03, "changed"),
    ],
)
def test_the_verdict_follows_the_interval_and_the_direction_of_the_metric(metric, low, high, expected):
    difference = estimate(metric, "arm", (low + high) / 2, low, high, baseline="sft")
    assert verdict(difference, metric_info(metric)) == expected


def test_a_value_has_no_verdict():
    assert verdict(estimate(), metric_info("bertscore")) == "unclear"


def test_metrics_are_named_and_ordered():
    names = ["words", "bleu_4", "mesh.f1.Edema", "no_finding.macro_f1_1", "custom", "mesh.micro_f1_13", "words"]
    assert in_order(names) == ["mesh.micro_f1_13", "bleu_4", "words", "custom"]
    assert metric_info("mesh.macro_f1_13").label == "Macro F1 against codes"
    assert metric_info("lc-green").label == "GREEN, length-controlled"
    assert metric_info("words", {"words": "Counted by hand."}).definition == "Counted by hand."


def test_the_index_keeps_to_the_split_of_most_estimates():
    other = Estimate("bertscore", "sft", "validation", 0.9, None, None, 0.90, 5, 5, "no interval: few")
    index = EstimateIndex([other, estimate(), estimate(policy="arm"), estimate(policy="arm", baseline="sft")])
    assert index.split == "test"
    assert index.get("bertscore", "sft").value == 0.5
    assert index.difference("bertscore", "arm").baseline == "sft"
    assert index.get("bertscore", "other") is None
    assert index.levels == "90%"


def test_answers_can_be_of_another_split_and_outnumber_the_reports():
    asked = [Estimate(f"task.{i}.accuracy", "sft", "validation", 0.9, None, None, 0.90, 5, 5, "few") for i in range(9)]
    index = EstimateIndex([estimate(), *asked])
    assert (index.split, index.answer_split) == ("test", "validation")
    assert index.get("bertscore", "sft").value == 0.5
    assert index.get("task.3.accuracy", "sft").value == 0.9


def test_markdown_is_bold_only_where_the_interval_excludes_zero():
    rows = [
        estimate(),
        estimate(policy="arm", value=0.53),
        estimate(policy="arm", value=0.03, low=0.01, high=0.05, baseline="sft"),
        estimate("rouge_l"),
        estimate("rouge_l", "arm"),
        estimate("rouge_l", "arm", 0.0, -0.1, 0.1, baseline="sft"),
    ]
    table = markdown_table(rows, ["sft", "arm", "absent"], ["bertscore", "rouge_l"])
    assert table.splitlines() == [
        "| Metric | sft | arm | absent |",
        "|---|---|---|---|",
        "| BERTScore | 0.500 [0.400, 0.600] | 0.530 [0.400, 0.600]<br>**+0.030 [+0.010, +0.050]** | – |",
        "| ROUGE-L | 0.500 [0.400, 0.600] | 0.500 [0.400, 0.600]<br>0.000 [-0.100, +0.100] | – |",
    ]


def test_the_terminal_summary_says_claims_numbers_and_place(tmp_path):
    data = report(
        headline=[Claim("It helps.", True, "+0.03"), Claim("It harms.", False, "no"), Claim("Who knows.", None, "-")],
        estimates=[
            estimate(),
            estimate(policy="arm", value=0.53),
            estimate(policy="arm", value=0.03, low=0.01, high=0.05, baseline="sft"),
        ],
    )
    text = terminal_summary(data, tmp_path / "report.html")
    assert "synthetic phantoms" in text
    assert "yes  It helps." in text
    assert "no   It harms." in text
    assert "?    Who knows." in text
    assert "+0.030 [+0.010, +0.050] ▲" in text
    assert text.endswith(f"Report: {tmp_path / 'report.html'}\n")


def test_the_terminal_summary_of_an_empty_run_has_no_tables():
    assert terminal_summary(report(synthetic=False)) == "A run (r)\nreferences: raw\n"
