"""The sections on length, other judges, answers and tests: what they say, and that old runs do without them."""

from __future__ import annotations

import re

import pytest
from markupsafe import escape

from chexalign.evaluate.cross_judge import Disagreement
from chexalign.evaluate.length import LengthGroup
from chexalign.evaluate.length_verdict import LengthVerdict
from chexalign.evaluate.numbers import Numbers
from chexalign.evaluate.tasks import TaxVerdict
from chexalign.present import sections, views
from chexalign.present.html import render_report
from chexalign.present.metrics import in_order, metric_info
from chexalign.present.numbers import EstimateIndex, p_text
from chexalign.present.tables import terminal_summary
from chexalign.types import Comparison, Estimate
from tests.unit.test_present_html import estimate, report


def about(metric, value, half=0.02, policy="arm", baseline=None):
    return estimate(metric, policy, value, half, baseline)


ESTIMATES = [
    *(estimate("bertscore", "sft", 0.5), estimate("bertscore", "arm", 0.55)),
    estimate("bertscore", "arm", 0.05, baseline="sft"),
    *(about("verbosity_vs_sft", 1.3), about("verbosity_vs_reference", 1.1), about("bertscore.win_rate_vs_sft", 0.7)),
    *(about("bertscore.lc_win_rate_vs_sft", 0.4), about("bertscore.gain.per_10_words", 0.01)),
    *(about("gain_sd.bertscore", 0.4, baseline="sft"), about("gain_sd.rouge_l", 0.1, baseline="sft")),
    about("goodhart_gap", 0.3, baseline="sft"),
    *(about("task.view.accuracy", 0.9, policy="sft"), about("task.view.accuracy", 0.8)),
    *(about("task.view.accuracy", -0.1, baseline="sft"), about("task.view.unread", 0.05)),
    *(about("task.view.a.frontal.accuracy", 0.7), about("task.mean.accuracy", 0.8)),
    *(about("chexbert.micro_f1_14", 0.5), about("chexbert.macro_f1_5", 0.4), about("chexbert.f1.Edema", 0.2)),
]
MORE = Numbers(
    comparisons=[Comparison("bertscore", "arm", "sft", 0.05, 0.001, 0.004, "test")],
    disagreements=[Disagreement("study-1", "arm", {"bertscore": 2.0, "rouge_l": -1.0})],
    length=[LengthVerdict("arm", "bertscore", "longer only")],
    tax=[TaxVerdict("task.view.accuracy", "arm", 0.05, "fail"), TaxVerdict("task.mean.accuracy", "arm", 0.05, "open")],
    length_groups=[
        LengthGroup(-3, 0, about("bertscore.win_rate_vs_sft.group_1_of_10", 0.5)),
        LengthGroup(1, 9, about("bertscore.win_rate_vs_sft.group_2_of_10", 0.8)),
    ],
)
DATA = report(
    estimates=ESTIMATES,
    more=MORE,
    judges={"arm": "bertscore"},
    labelers={"chexbert": "an uncertain label counts as positive"},
)
INDEX = EstimateIndex(ESTIMATES)


@pytest.fixture(scope="module")
def html():
    return render_report(DATA)


def test_every_new_metric_has_a_name_and_a_definition():
    unknown = "A metric of this run that this report has no definition for."
    assert [e.metric for e in ESTIMATES if metric_info(e.metric).definition == unknown] == []
    for name in ("empty", "chexbert.average_f1", "task.vqa.slake.other_order", "task.mean.accuracy", "task.a.micro_f1"):
        assert metric_info(name).definition != unknown


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("bertscore-paper", "BERTScore (paper)"),
        ("lc-bertscore-paper", "BERTScore (paper), length-controlled"),
        ("sum-bertscore-and-rouge_l", "Sum of BERTScore and ROUGE-L"),
        ("gain_sd.bertscore-paper", "Gain by BERTScore (paper)"),
        ("chexbert.micro_f1_14", "Micro F1 by CheXbert, 14 labels"),
        ("task.vqa.slake.accuracy", "vqa / slake: accuracy"),
        ("vqa.region.accuracy", "region: accuracy"),
        ("vqa.all.macro_f1", "all questions: macro F1"),
        ("vqa.hallucination", "hallucination rate"),
        ("vqa.verify.ece", "yes or no: ECE"),
        ("vqa.basic.relative_gain", "basic: relative gain"),
        ("vqa.basic.other", "vqa.basic.other"),
        ("verbosity_vs_sft", "Words against sft"),
        ("made-up", "made-up"),
    ],
)
def test_names_are_read(name, label):
    assert metric_info(name).label == label


def test_which_way_is_better_is_known_of_answers_by_type():
    names = ("accuracy", "micro_f1", "macro_f1", "relative_gain", "ece")
    assert [metric_info(f"vqa.open.{name}").better for name in names] == [1, 1, 1, 1, -1]
    assert metric_info("vqa.hallucination").better == -1
    assert in_order(["vqa.all.accuracy", "vqa.hallucination", "bertscore"]) == ["bertscore"]


def test_the_main_table_stays_short():
    assert in_order(e.metric for e in ESTIMATES) == ["bertscore"]


def test_the_best_is_bold_only_where_interval_and_test_agree():
    row = views.main_table(DATA, INDEX)[0][1][0]
    assert [cell.best for cell in row.cells] == [False, True]
    assert row.cells[1].test.p_holm == 0.004
    weak = Numbers(comparisons=[Comparison("bertscore", "arm", "sft", 0.05, 0.03, 0.08, "test")])
    for more in (weak, Numbers()):
        row = views.main_table(report(estimates=ESTIMATES, more=more), INDEX)[0][1][0]
        assert not any(cell.best for cell in row.cells)


def test_the_baseline_is_best_where_all_others_are_significantly_worse():
    worse = [estimate("bertscore", "sft", 0.5), estimate("bertscore", "arm", 0.4)]
    worse.append(estimate("bertscore", "arm", -0.1, baseline="sft"))
    row = views.main_table(report(estimates=worse, more=MORE), EstimateIndex(worse))[0][1][0]
    assert [cell.best for cell in row.cells] == [True, False]


def test_length_has_its_verdict_and_its_rule(html):
    row = next(row for row in sections.length_rows(DATA, INDEX) if row.policy == "arm")
    assert (row.verdict, row.judge) == ("longer only", "BERTScore")
    assert [e.value for _, e in row.numbers] == [1.3, 1.1, 0.7, 0.4, 0.01]
    assert escape(sections.LENGTH_RULE) in html
    assert 'id="win-rate-figure_1"' in html
    assert "+1 to +9 (n 50)" in html


def test_other_judges_come_last_with_the_gap_and_link_to_cases(html):
    assert [row.info.name for row in sections.judge_rows(DATA, INDEX)][-1] == "goodhart_gap"
    assert 'href="#study=study-1&amp;arm=arm"' in html
    assert 'id="gains-figure_1"' in html


def test_the_tax_is_told_by_task_with_its_verdict(html):
    rows = sections.task_rows(DATA, INDEX)
    assert [(row.name, row.depth) for row in rows] == [("All tasks, mean", 0), ("view", 0), ("frontal", 2)]
    assert [row.info.name for row in sections.control_rows(DATA, INDEX)] == ["task.view.unread"]
    assert sections.tax_summary(DATA) == ["arm: lost more than the bound on view; open on the mean over tasks"]
    passed = report(more=Numbers(tax=[TaxVerdict("task.view.accuracy", "arm", 0.05, "pass")]))
    assert sections.tax_summary(passed) == ["arm: within the bound on view"]
    assert 'class="tax fail"' in html
    shown, folded = html.split("<summary>Accuracy on each part of a task (1)</summary>")
    assert "frontal</th>" in folded.split("</details>")[0]
    assert "frontal</th>" not in shown


def test_another_labeler_has_a_table_with_its_policy(html):
    assert "an uncertain label counts as positive" in html
    assert "Micro F1 by CheXbert, 14 labels" in html
    assert "references through the normalizer" in html.lower()


def test_p_values_stand_beside_differences(html):
    assert re.search(r'<div class="p">p 0\.004', html)
    assert [p_text(p) for p in (0.00004, 0.0123, 0.5)] == ["p < 0.001", "p 0.012", "p 0.50"]


def test_a_withheld_interval_says_why_in_every_section():
    few = [
        Estimate(e.metric, e.policy, "test", e.value, None, None, 0.9, 9, 9, "no interval: 9 clusters", e.baseline)
        for e in ESTIMATES
    ]
    html = render_report(report(estimates=few, more=MORE, judges={"arm": "bertscore"}))
    for name in ("results", "length", "judges", "tax"):
        part = html[html.index(f'<section id="{name}"') :]
        assert "(no interval: 9 clusters)" in part[: part.index("</section>")]


def test_the_terminal_tells_the_verdicts():
    text = terminal_summary(DATA)
    assert "  length  arm: writes longer reports, which its judge does not find better at equal length\n" in text
    assert "  judges  arm: own judge +0.30 [+0.28, +0.32] sd ahead of the others\n" in text
    assert "  tasks   arm: lost more than the bound on view; open on the mean over tasks\n" in text


def test_an_old_run_has_none_of_these_sections():
    html = render_report(report())
    assert re.findall(r'<section id="(judges|tax)"', html) == []
    assert "The rule" not in html
