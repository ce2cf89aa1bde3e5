"""The cases as the page holds them: an index to sort and filter by, and blocks that no text can break out of."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from chexalign.evaluate.cross_judge import Disagreement
from chexalign.evaluate.numbers import Numbers
from chexalign.present.case_data import case_blocks, index_block
from tests.unit.test_present_html import case, report

NASTY = '</script><!-- <script>alert("x")</script> & <b>'


def blocks(data):
    return [json.loads(block) for block in case_blocks(data)]


def test_the_index_has_a_column_per_policy_and_score():
    told = Numbers(disagreements=[Disagreement("study-2", "arm", {"bertscore": 1.234, "chexpert": -2.0})])
    told.disagreements.append(Disagreement("not shown", "arm", {"bertscore": 1.0}))
    index = json.loads(index_block(report(more=told, judges={"arm": "bertscore"})))
    assert index["ids"] == ["study-1", "study-2"]
    assert index["policies"] == ["sft", "arm"]
    assert index["labels"] == ["Cardiomegaly", "Edema"]
    assert index["reference"] == [1, 1]
    assert index["written"] == {"sft": [2, 2], "arm": [1, 1]}
    assert index["scores"]["arm"]["bertscore"] == [0.6, 0.6]
    assert index["metrics"][0]["label"] == "BERTScore"
    assert index["judges"] == {"arm": "BERTScore"}
    assert index["disagree"] == [["arm", 1, {"BERTScore": 1.23, "Label agreement per report": -2.0}]]


def test_an_unscored_case_has_no_number():
    unscored = case("s", "No effusion.")
    unscored.scores["sft"]["bertscore"] = float("nan")
    index = json.loads(index_block(report(cases=[unscored])))
    assert index["scores"]["sft"]["bertscore"] == [None]


def test_a_block_tells_texts_findings_and_images():
    first = blocks(report())[0]
    assert first["findings"] == ["Cardiomegaly"]
    assert [image[:2] for image in first["images"]] == [["frontal", True]]
    assert set(first["written"]) == {"sft", "arm"}
    assert first["written"]["sft"]["chips"] == [["Cardiomegaly", "missed", ""], ["Edema", "invented", ""]]
    assert first["written"]["arm"]["chips"] == [
        ["Cardiomegaly", "match", "found"],
        ["Edema", "withdrawn", "withdrawn"],
    ]
    assert first["written"]["arm"]["sentences"][0] == ["added", "The heart is enlarged."]


@given(st.text(max_size=80))
def test_no_text_ends_its_block(text):
    made = case("study" + text, text)
    for block in (index_block(report(cases=[made])), *case_blocks(report(cases=[made]))):
        assert not set("<>&") & set(block)
        json.loads(block)


def test_a_text_that_looks_like_markup_comes_back_whole():
    found = blocks(report(cases=[case("s", NASTY)]))[0]
    text = " ".join(pieces for _, pieces in found["written"]["sft"]["sentences"])
    assert text == NASTY


def test_a_run_without_cases_has_an_empty_index():
    assert json.loads(index_block(report(cases=[])))["ids"] == []
