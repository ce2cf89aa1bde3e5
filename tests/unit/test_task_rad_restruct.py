"""Rad-ReStruct in the layout of its repository: splits, options, what goes before a question, and its images."""

import shutil
from collections import Counter

import pytest

from chexalign.data.tasks.rad_restruct import RadReStruct
from chexalign.errors import UserError
from tests.vqa_trees import SIGNS, asked, put_outside, questions, restruct_tree, write_json


@pytest.fixture
def root(tmp_path):
    return restruct_tree(tmp_path / "restruct")


def test_the_official_splits_are_kept(root, tmp_path):
    rows, dropped = questions(RadReStruct(root=root), tmp_path / "images")
    assert Counter(row.split for row in rows) == {"train": 10, "validation": 4, "test": 1}
    assert dropped == {}
    assert {row.study_id for row in rows if row.split == "test"} == {"CXR6"}


def test_the_questions_of_a_report_by_hand(root, tmp_path):
    rows, _ = questions(RadReStruct(root=root), tmp_path / "images")
    signs, opacity, area, another = [row for row in rows if row.study_id == "CXR1"]
    assert (signs.answer_type, signs.options, signs.answers, signs.part) == ("verify", ("yes", "no"), ("yes",), "lung")
    assert opacity.text == "Q: Are there any signs in the lung? A: yes\nQ: Is there opacity in the lung?"
    assert (area.answer_type, area.answers) == ("query", ("left", "lower lobe"))
    assert [(e.text, e.present) for e in opacity.evidence] == [("lung_signs_opacity", True)]
    assert another.answers == ("no",)
    assert another.evidence == ()  # it says nothing of whether there is opacity


def test_all_frontal_images_of_a_report_are_shown(root, tmp_path):
    rows, _ = questions(RadReStruct(root=root), tmp_path / "images")
    assert {len(row.images) for row in rows if row.study_id == "CXR5"} == {2}


def test_questions_that_need_earlier_answers_can_be_left_out(root, tmp_path):
    rows, dropped = questions(RadReStruct(root=root, history="none"), tmp_path / "images")
    assert all("Q:" not in row.text for row in rows)
    assert dropped == {"needs_earlier_answers": 9}


def test_the_images_may_be_those_of_openi(root, tmp_path):
    (root / "data/radrestruct/images").rename(tmp_path / "NLMCXR_png")
    rows, _ = questions(RadReStruct(root=root, images=tmp_path / "NLMCXR_png"), tmp_path / "images")
    assert len(rows) == 15


BAD = {
    "malformed_row": [
        ["Is it?"],
        {"question": "Is it?"},
        asked(""),
        asked(answers=[3]),  # type: ignore[list-item]
        [*asked()[:2], [["Is it?"]], asked()[3]],
        [*asked()[:3], None],
        asked(path=""),
    ],
    "no_answer": [asked(answers=[])],
    "answer_outside_options": [asked(answers=["maybe"])],
    "several_answers_to_one": [asked(answers=["yes", "no"])],
    "unknown_answer_type": [asked(kind="free")],
    "too_few_options": [asked(options=["yes"], answers=["yes"])],
    "duplicate_options": [asked(options=["yes", "no", "No"])],
}


@pytest.mark.parametrize(("reason", "row"), [(reason, row) for reason, rows in BAD.items() for row in rows])
def test_what_cannot_be_used_has_its_reason(root, tmp_path, reason, row):
    write_json(root / "data/radrestruct/test_qa_pairs/6.json", [row, asked()])
    rows, dropped = questions(RadReStruct(root=root), tmp_path / "images")
    assert sum(each.split == "test" for each in rows) == 1
    assert dropped == {reason: 1}


def test_a_link_out_of_the_tree_is_not_followed(root, tmp_path):
    put_outside(root / "data/radrestruct/images/CXR2_IM-0002-1001.png", tmp_path / "outside")
    assert questions(RadReStruct(root=root), tmp_path / "images")[1]["image_outside_the_folder"] == 1


def test_files_that_are_none_and_reports_without_images(root, tmp_path):
    data = root / "data/radrestruct"
    (data / "train_qa_pairs/1.json").write_text("[[")
    write_json(data / "train_qa_pairs/2.json", {})
    write_json(data / "train_qa_pairs/99.json", [asked(), asked("In which area?", before=[SIGNS])])
    (data / "images/CXR4_IM-0004-1001.png").unlink()
    rows, dropped = questions(RadReStruct(root=root), tmp_path / "images")
    assert dropped == {"unreadable_file": 1, "malformed_file": 1, "no_frontal_image": 2, "image_missing": 1}
    assert {row.study_id for row in rows} == {"CXR3", "CXR5", "CXR6"}


@pytest.mark.parametrize("gone", ["id_to_img_mapping_frontal_reports.json", "val_qa_pairs", "images"])
def test_missing_parts_are_named(root, gone):
    path = root / "data/radrestruct" / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=gone):
        RadReStruct(root=root).items()
