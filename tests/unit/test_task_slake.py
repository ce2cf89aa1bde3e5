"""SLAKE in its own layout: English, chest X-rays, yes or no, and the splits under both of their names."""

import shutil
from collections import Counter

import pytest

from chexalign.data.tasks.slake import Slake
from chexalign.errors import UserError
from tests.trees import write_image
from tests.vqa_trees import put_outside, questions, slake_row, slake_tree, write_json


@pytest.fixture
def root(tmp_path):
    return slake_tree(tmp_path / "slake")


def test_english_questions_about_chest_x_rays_in_the_official_splits(root, tmp_path):
    rows, dropped = questions(Slake(root=root), tmp_path / "images")
    assert Counter(row.split for row in rows) == {"train": 3, "validation": 3, "test": 3}
    assert dropped == {"other_language": 3, "not_a_chest_x_ray": 3}
    assert {(row.patient_id, row.split) for row in rows} == {
        ("xmlab100", "train"),
        ("xmlab101", "validation"),
        ("xmlab102", "test"),
    }


def test_the_name_of_the_copy_is_known(tmp_path):
    assert len(Slake(root=slake_tree(tmp_path, validation="validation.json")).items()[0]) == 3


def test_closed_questions_are_those_of_yes_and_no(root, tmp_path):
    rows, dropped = questions(Slake(root=root, questions="yes_no"), tmp_path / "images")
    assert {(row.answer_type, row.options, row.answers) for row in rows} == {("verify", ("yes", "no"), ("no",))}
    assert dropped["not_yes_or_no"] == 6
    everything, _ = questions(Slake(root=root), tmp_path / "images")
    assert {row.answers for row in everything if row.answer_type == "open"} == {("2",), ("Lung",)}
    assert {row.part for row in rows} == {"abnormality"}


def test_another_language_can_be_asked_for(root, tmp_path):
    rows, _ = questions(Slake(root=root, language="zh"), tmp_path / "images")
    assert [row.answers for row in rows] == [("不健康",)] * 3


BAD = {
    "malformed_row": [{"qid": "a"}, {"question": None}, {"answer": []}, {"img_name": 3}],
    "image_outside_the_folder": [{"img_name": "../x.jpg"}, {"img_name": "/etc/x.jpg"}],
    "other_language": [{"q_lang": None}],
    "not_a_chest_x_ray": [{"modality": None}, {"location": "Abdomen"}, {"modality": "MRI"}],
    "duplicate_id": [{"qid": 1}],
}


@pytest.mark.parametrize(("reason", "changed"), [(reason, each) for reason, all_ in BAD.items() for each in all_])
def test_what_cannot_be_used_has_its_reason(root, tmp_path, reason, changed):
    write_json(root / "train.json", [slake_row(1, 100), slake_row(2, 100) | changed])
    rows, dropped = questions(Slake(root=root), tmp_path / "images")
    assert sum(row.split == "train" for row in rows) == 1
    assert dropped[reason] == 1 + {"other_language": 2, "not_a_chest_x_ray": 2}.get(reason, 0)


def test_numbers_are_answers(root, tmp_path):
    write_json(root / "train.json", [slake_row(1, 100, answer=2, answer_type="OPEN")])
    rows, _ = questions(Slake(root=root), tmp_path / "images")
    assert [row.answers for row in rows if row.split == "train"] == [("2",)]


def test_an_image_of_two_splits_is_held_out(root, tmp_path):
    write_json(root / "train.json", [slake_row(1, 100), slake_row(2, 102)])
    rows, dropped = questions(Slake(root=root), tmp_path / "images")
    assert dropped["patient_in_another_split"] == 1
    assert {row.split for row in rows if row.patient_id == "xmlab102"} == {"test"}


def test_images_without_folders_are_told_apart_by_name(root, tmp_path):
    for n in (1, 2):
        write_image(root / f"imgs/flat{n}.jpg", seed=n)
    write_json(root / "train.json", [slake_row(n, 0, img_name=f"flat{n}.jpg") for n in (1, 2)])
    rows, _ = questions(Slake(root=root), tmp_path / "images")
    assert {row.patient_id for row in rows if row.split == "train"} == {"flat1", "flat2"}


def test_missing_parts_are_named(root, tmp_path):
    (root / "validate.json").unlink()
    with pytest.raises(UserError, match=r"validate\.json or validation\.json") as caught:
        Slake(root=root).items()
    assert "train.json" in caught.value.why
    with pytest.raises(UserError, match=r"data\.root is missing"):
        Slake().items()
    shutil.rmtree(root / "imgs")
    write_json(root / "validate.json", [])
    assert questions(Slake(root=root), tmp_path / "images")[1]["image_missing"] == 6


def test_a_link_out_of_the_tree_is_not_followed(root, tmp_path):
    put_outside(root / "imgs/xmlab100/source.jpg", tmp_path / "outside")
    assert questions(Slake(root=root), tmp_path / "images")[1]["image_outside_the_folder"] == 3


def test_a_file_that_is_cut_short_is_an_error(root):
    path = root / "train.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"train\.json cannot be read"):
        Slake(root=root).items()
