"""CheXbench in its own layout: the tasks of the paper, options, paths of another machine, and what cannot be used."""

import json
from collections import Counter
from pathlib import Path

import pytest

from chexalign.data.tasks.chexbench import CheXbench
from chexalign.errors import UserError
from tests.vqa_trees import chexbench_tree, put_outside, questions, sample, write_json


@pytest.fixture
def root(tmp_path):
    return chexbench_tree(tmp_path / "bench")


def test_the_tasks_of_the_paper_are_read_and_others_counted(root, tmp_path):
    rows, dropped = questions(CheXbench(root=root), tmp_path / "images")
    assert Counter(row.task for row in rows) == {"view": 2, "vqa": 2, "reasoning": 2}
    assert dropped == {"task_not_asked": 2}
    assert {row.split for row in rows} == {"test"}
    assert {row.answer_type for row in rows} == {"choose"}


def test_a_sample_by_hand(root, tmp_path):
    rows, _ = questions(CheXbench(root=root, parts="slice"), tmp_path / "images")
    row = next(row for row in rows if row.task == "reasoning" and row.study_id == "CXR1")
    assert (row.part, row.source, row.patient_id) == ("OpenI/left or right", "chexbench", "CXR1")
    assert row.options == ("small left effusion", "small right effusion")
    assert row.answers == ("small right effusion",)


def test_patients_and_studies_are_those_of_the_collections(root, tmp_path):
    rows, _ = questions(CheXbench(root=root), tmp_path / "images")
    found = {(row.patient_id, row.study_id) for row in rows if row.task == "view"}
    assert found == {("10000032", "s50414267"), ("patient00001", "patient00001/study1")}


def test_temporal_questions_have_both_images_where_they_are_asked_for(root, tmp_path):
    rows, dropped = questions(CheXbench(root=root, tasks=("temporal",)), tmp_path / "images")
    assert [(row.kind, len(row.images)) for row in rows] == [("compare", 2)]
    assert dropped == {"task_not_asked": 7}


def test_a_temporal_question_about_one_image_compares_nothing(tmp_path):
    root = chexbench_tree(tmp_path, {"Temporal Classification": [sample(1)]})
    rows, _ = questions(CheXbench(root=root, tasks=("temporal",)), tmp_path / "images")
    assert [row.kind for row in rows] == ["basic"]


def test_images_of_a_source_may_be_elsewhere(root, tmp_path):
    (root / "openi").rename(tmp_path / "elsewhere")
    rows, dropped = questions(CheXbench(root=root), tmp_path / "images")
    assert dropped["image_missing"] == 4
    found, dropped = questions(CheXbench(root=root, roots={"OpenI": tmp_path / "elsewhere"}), tmp_path / "images")
    assert len(found) == len(rows) + 4
    assert "image_missing" not in dropped


BAD = {
    "too_few_options": {"option_1": None},
    "options_with_a_gap": {"option_1": None, "option_2": "none"},
    "duplicate_options": {"option_1": "Small left effusion."},
    "answer_out_of_range": {"answer": 2},
    "malformed_row": {"question": " "},
    "malformed_image_path": {"image_path": "../../secret.png"},
}


@pytest.mark.parametrize("reason", BAD)
def test_what_cannot_be_used_has_its_reason(tmp_path, reason):
    root = chexbench_tree(tmp_path, {"Fine-Grained Reasoning": [sample(1), sample(1, **BAD[reason])]})
    rows, dropped = questions(CheXbench(root=root), tmp_path / "images")
    assert (len(rows), dropped) == (1, {reason: 1})


@pytest.mark.parametrize("answer", [-1, True, "0", None, 0.5, float("nan"), [0]])
def test_an_answer_is_a_place(tmp_path, answer):
    root = chexbench_tree(tmp_path, {"Fine-Grained Reasoning": [sample(1, answer=answer), sample(2, answer=1.0)]})
    rows, dropped = questions(CheXbench(root=root), tmp_path / "images")
    assert (len(rows), dropped) == (1, {"answer_out_of_range": 1})


def test_a_link_out_of_the_tree_is_not_followed(root, tmp_path):
    put_outside(root / "openi/images/CXR1_IM-0001-1001.png", tmp_path / "outside")
    assert questions(CheXbench(root=root), tmp_path / "images")[1]["image_outside_the_folder"] == 2


def test_another_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no data\.json"):
        CheXbench(root=tmp_path).items()
    for value in ([], {"train": []}, 3):
        write_json(tmp_path / "data.json", value)
        with pytest.raises(UserError, match="none of the tasks"):
            CheXbench(root=tmp_path).items()
    Path(tmp_path / "data.json").write_text(json.dumps({"View Classification": []})[:-3])
    with pytest.raises(UserError, match="cannot be read"):
        CheXbench(root=tmp_path).items()


def test_an_unknown_task_is_refused():
    with pytest.raises(UserError, match="'grounding'"):
        CheXbench(tasks=("grounding",))
