"""The report file: whole, private, escaped, and in need of nothing else."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image

from chexalign.present.case import Case, CaseImage
from chexalign.present.data import Claim, Curve, PairSet, ReportData, StageRow
from chexalign.present.html import duration, render_report, write_report
from chexalign.present.views import stage_totals
from chexalign.types import Estimate

NASTY = '<script>alert("x")</script> & <b>'


def jpeg():
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((16, 16)).save(buffer, "JPEG")
    return buffer.getvalue()


def estimate(metric, policy, value, half=0.02, baseline=None):
    return Estimate(metric, policy, "test", value, value - half, value + half, 0.90, 50, 40, "bootstrap", baseline)


def report(**changes):
    fields = {
        "title": "A run",
        "run_name": "r",
        "recipe_yaml": f"run: r  # {NASTY}\n",
        "notes": ["Images are drawn."],
        "synthetic": True,
        "stages": [
            StageRow("studies", 1200, {"no findings": 34}, 2.0, "1 process"),
            StageRow("scores/chexpert", 40, {}, None, ""),
            StageRow("scores/bertscore", 60, {}, 1.0, ""),
        ],
        "estimates": [
            estimate("bertscore", "sft", 0.5),
            estimate("bertscore", "arm", 0.55),
            estimate("bertscore", "arm", 0.05, baseline="sft"),
            estimate("bertscore", "sft_shuffled", 0.4),
            estimate("bertscore", "sft_shuffled", -0.1, baseline="sft"),
            estimate("words", "sft", 20.0, 1.0),
            estimate("words", "arm", 22.0, 1.0),
            estimate("words", "arm", 2.0, 1.0, baseline="sft"),
            Estimate("mesh.f1.Edema", "sft", "test", None, None, None, 0.90, 3, 3, "no value: nothing to average"),
        ],
        "policies": ["sft", "arm", "sft_shuffled"],
        "headline": [Claim("It helps.", True, "+0.050"), Claim("It harms.", False, "-"), Claim("Open.", None, "-")],
        "curves": [Curve("sft", "loss", [1, 2, 3], [3, 2, float("nan")]), Curve("arm", "accuracy", [1, 2], [0.5, 0.6])],
        "pair_sets": [PairSet("arm", "bertscore", [0.6, 0.7], [0.4, 0.4], [20, 25], [20, 21], {"ties": 0.1})],
        "cases": [case("study-1", NASTY), case("study-2", "The lungs are clear.")],
        "versions": {"torch": "2.13"},
        "config_digest": "abc",
        "generated": "2026-01-01",
        "seeds": {"run": 11},
    }
    return ReportData(**(fields | changes))


def case(study, text):
    return Case(
        study_id=study,
        images=[CaseImage(jpeg(), "frontal", synthetic=True)],
        indication=None,
        reference="The heart is enlarged.",
        reference_labels=["Cardiomegaly"],
        texts={"sft": text, "arm": "The heart is enlarged.", "sft_shuffled": ""},
        labels={"sft": ["Edema"], "arm": ["Cardiomegaly"]},
        scores={"sft": {"bertscore": 0.4}, "arm": {"bertscore": 0.6}},
    )


@pytest.fixture(scope="module")
def html():
    return render_report(report())


def test_the_file_is_private_and_whole(tmp_path):
    path = tmp_path / "run" / "report.html"
    write_report(report(curves=[], pair_sets=[], cases=[]), path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().rstrip().endswith("</html>")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_nothing_is_loaded_from_elsewhere(html):
    assert "http" not in re.sub(r'http-equiv="Content', "", html)
    assert re.findall(r'(?:src|href)="(?!data:|#)', html) == []
    assert not re.search(r"@import|url\((?!#)", html)


def test_every_text_is_escaped(html):
    assert NASTY not in html
    assert html.count("<script>") == 1
    assert "&lt;script&gt;" in html


def test_ids_are_unique(html):
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert sorted(ids) == sorted(set(ids))


def test_sections_come_in_order(html):
    found = re.findall(r'<section id="(\w+)"', html)
    assert found == ["holds", "ran", "results", "control", "length", "cases", "training", "method"]
    assert html.index("Images are drawn.") < html.index("Does it hold?</h2>")


def test_claims_carry_their_verdict(html):
    assert re.findall(r'class="claim (\w+)"', html) == ["yes", "no", "open"]


def test_differences_are_marked_only_where_the_interval_excludes_zero(html):
    kinds = re.findall(r'<div class="diff (\w+)"', html)
    assert kinds == ["better", "changed"]
    flat = render_report(report(estimates=[estimate("bertscore", "arm", 0.01, baseline="sft")], cases=[]))
    assert re.findall(r'<div class="diff (\w+)"', flat) == []


def test_the_pipeline_adds_up_the_tables_of_a_stage(html):
    strip = html[html.index('<ol class="flow">') : html.index("</ol>", html.index('<ol class="flow">'))]
    assert re.findall(r'class="n">([\d,]+)</span><span class="what">(\w+)', strip) == [
        ("1,200", "studies"),
        ("100", "scores"),
        ("2", "policies"),
    ]
    assert "2 judges" in strip


def test_plots_are_inline_with_their_text_as_text(html):
    for name in ("forest", "before-after", "control", "length", "curves", "pairs-0"):
        assert f'id="{name}-figure_1"' in html
    assert re.search(r"<text[^>]*>Words per report</text>", html)


def test_cases_are_data_that_no_browser_runs_or_loads(html):
    kinds = re.findall(r"<script([^>]*)>", html)
    assert [kind for kind in kinds if "application/json" not in kind] == [""]
    assert html.count('<script type="application/json" id="case-') == 1 + 2  # the index, and one block per case


def test_reasons_stand_where_an_interval_is_missing(html):
    assert "(no value: nothing to average)" in html


def test_a_bare_run_still_has_a_report():
    html = render_report(
        report(
            stages=[], estimates=[], policies=[], headline=[], curves=[], pair_sets=[], cases=[], notes=[], versions={}
        )
    )
    assert "This run has no estimates." in html
    assert "drawn, not taken from patients" in html
    assert "Not a clinical device." in html


def test_the_same_data_gives_the_same_file(html):
    assert render_report(report()) == html


def test_malformed_data_is_refused():
    with pytest.raises(ValueError, match="not a JPEG"):
        CaseImage(b"GIF89a", "frontal", synthetic=False)
    with pytest.raises(ValueError, match="unequal length"):
        PairSet("arm", "green", [1.0], [], [1], [1])
    with pytest.raises(ValueError, match="2 x and 1 y"):
        Curve("sft", "loss", [1, 2], [1])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (8.44, "8.4 s"), (125, "2 min 05 s"), (59.96, "1 min 00 s"), (4200, "1 h 10 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_many_stages_of_a_kind_stand_as_their_sum():
    stages = [StageRow("studies", 5, {}, 1.0, "a")]
    stages += [StageRow(f"metrics/chexpert/{p}", 10, {"empty": 1}, 2.0, "b") for p in ("sft", "a", "b", "c")]
    first, second = stage_totals([*stages, StageRow("metrics/x", 1, {"other": 2})])
    assert (first.name, first.tables, first.rows, first.workers) == ("studies", 1, 5, "a")
    assert (second.name, second.tables, second.rows, second.seconds) == ("metrics", 5, 41, 8.0)
    assert second.dropped == {"empty": 4, "other": 2}
