"""MIMIC-Ext-MIMIC-CXR-VQA in its official layout: kinds of answers, evidence, images of MIMIC-CXR-JPG."""

import pytest

from chexalign.data.tasks.mimic_vqa import MimicVQA
from chexalign.data.tasks.mimic_vqa_evidence import evidence_of
from chexalign.errors import UserError
from tests.vqa_trees import arguments, mimic_row, mimic_vqa_tree, put_outside, questions, write_json


@pytest.fixture
def root(tmp_path):
    return mimic_vqa_tree(tmp_path / "vqa", tmp_path / "jpg")


@pytest.fixture
def source(root, tmp_path):
    return MimicVQA(root=root, images=tmp_path / "jpg")


def test_the_kinds_of_questions_in_every_split(source, tmp_path):
    rows, dropped = questions(source, tmp_path / "images")
    assert dropped == {}
    assert {row.split for row in rows} == {"train", "validation", "test"}
    verify, choose, query, sex = [row for row in rows if row.split == "train"]
    assert (verify.answer_type, verify.options, verify.answers) == ("verify", ("yes", "no"), ("yes",))
    assert (choose.answer_type, choose.options, choose.answers) == ("choose", ("edema", "mass"), ("edema",))
    assert (query.answer_type, query.options, query.answers) == ("query", (), ())
    assert (sex.answer_type, sex.options, sex.answers) == ("choose", ("female", "male"), ("female",))
    assert (verify.patient_id, verify.study_id, verify.part) == ("10000032", "s50414267", "presence")
    assert verify.images[0].view == "frontal"


def test_what_an_answer_rests_on(source, tmp_path):
    rows, _ = questions(source, tmp_path / "images")
    told = [{e.text: e.present for e in row.evidence} for row in rows if row.split == "train"]
    assert told == [{"pleural effusion/left lung": True}, {"edema": True, "mass": False}, {}, {}]


TWO, PLACES = {"attribute": ("a", "b"), "object": ("x",)}, {"attribute": ("a",), "object": ("x", "y")}


@pytest.mark.parametrize(
    ("program", "given", "answers", "told"),
    [
        ("program_2", {"attribute": ("a",), "object": ("x",)}, ("no",), {"a/x": False}),
        ("program_5", TWO, ("yes",), {"a/x": True, "b/x": True}),
        ("program_5", TWO, ("no",), {}),
        ("program_6", TWO, ("no",), {"a/x": False, "b/x": False}),
        ("program_6", TWO, ("yes",), {}),
        ("program_29", PLACES, ("yes",), {"a/x": True, "a/y": True}),
        ("program_30", PLACES, ("no",), {"a/x": False, "a/y": False}),
        ("program_10", TWO, ("b",), {"a/x": False, "b/x": True}),
        ("program_32", PLACES, ("y",), {"a/x": False, "a/y": True}),
        ("program_31", {"attribute": ("a",)}, ("x", "z"), {"a/x": True, "a/z": True}),
        ("program_31", {"attribute": ("a",)}, (), {}),
        ("program_7", {"object": ("x",)}, ("a", "b"), {"a/x": True, "b/x": True}),
        ("program_27", {}, ("a",), {"a": True}),
        ("program_13", {"object": ("x", "y")}, ("a",), {}),
        ("program_41", {"viewpos": ("ap",)}, ("yes",), {}),
        ("program_x", TWO, ("yes",), {}),
        (None, TWO, ("yes",), {}),
    ],
)
def test_evidence_is_what_the_program_makes_certain(program, given, answers, told):
    assert {e.text: e.present for e in evidence_of(program, given, answers)} == told


CHOICE = {"semantic_type": "choose", "template_arguments": arguments(object=["left lung", "right lung"])}
PLANE = {"semantic_type": "choose", "content_type": "plane", "template_arguments": arguments()}


@pytest.mark.parametrize(
    ("changed", "kind", "options"),
    [
        ({**CHOICE, "answer": ["left lung"]}, "choose", ("left lung", "right lung")),
        ({**CHOICE, "answer": ["left lung", "right lung"]}, "query", ("left lung", "right lung")),
        ({**CHOICE, "answer": []}, "query", ("left lung", "right lung")),
        ({**PLANE, "answer": ["PA"]}, "choose", ("ap", "pa")),
    ],
)
def test_a_choice_is_one_of_its_options(source, root, tmp_path, changed, kind, options):
    write_json(root / "train.json", [mimic_row(0, **changed)])
    rows, _ = questions(source, tmp_path / "images")
    row = next(row for row in rows if row.split == "train")
    assert (row.answer_type, row.options) == (kind, options)


BAD = {
    "malformed_row": [{"question": 3}, {"subject_id": "../1"}, {"image_id": "a/b"}, {"idx": None},
                      {"template_arguments": []}, {"template_arguments": {"object": {"0": 3}}}],
    "malformed_answer": [{"answer": "yes"}, {"answer": [None]}],
    "answer_outside_options": [{"answer": ["maybe"]}, {"answer": []}, {**CHOICE, "answer": ["spine"]},
                               {"semantic_type": "query", "content_type": "gender", "answer": ["x"]}],
    "unknown_semantic_type": [{"semantic_type": "guess"}],
    "split_of_another_file": [{"split": "test"}],
    "duplicate_id": [{}],
}  # fmt: skip


@pytest.mark.parametrize(("reason", "changed"), [(reason, each) for reason, all_ in BAD.items() for each in all_])
def test_what_cannot_be_used_has_its_reason(source, root, tmp_path, reason, changed):
    write_json(root / "train.json", [mimic_row(0), mimic_row(0 if reason == "duplicate_id" else 1) | changed])
    rows, dropped = questions(source, tmp_path / "images")
    assert sum(row.split == "train" for row in rows) == 1
    assert dropped == {reason: 1}


def test_the_copy_without_answers_is_counted(source, root, tmp_path):
    row = mimic_row(0)
    del row["answer"]
    write_json(root / "train.json", [row])
    assert questions(source, tmp_path / "images")[1] == {"answer_missing": 1}


def test_a_patient_of_two_files_is_held_out(source, root, tmp_path):
    write_json(root / "train.json", [mimic_row(0, patient=10000034, study=50414269)])
    rows, dropped = questions(source, tmp_path / "images")
    assert dropped == {"patient_in_another_split": 1}
    assert {row.split for row in rows} == {"validation", "test"}


def test_a_link_out_of_the_tree_is_not_followed(source, tmp_path):
    put_outside(tmp_path / "jpg/files/p10/p10000032/s50414267/030142bb-aaaaaaaa.jpg", tmp_path / "outside")
    assert questions(source, tmp_path / "images")[1]["image_outside_the_folder"] == 4


def test_missing_parts_are_named(source, root, tmp_path):
    with pytest.raises(UserError, match="p10 to files/p19"):
        MimicVQA(root=root).items()
    (root / "valid.json").rename(root / "_valid.json")
    with pytest.raises(UserError, match=r"has no valid\.json") as caught:
        source.items()
    assert "_valid.json" in caught.value.why


@pytest.mark.parametrize("folder", ["MIMIC-Ext-MIMIC-CXR-VQA/dataset", "dataset", "mimiccxrvqa/dataset"])
def test_the_folder_may_be_that_of_the_archive(root, tmp_path, folder):
    there = tmp_path / "unpacked" / folder
    there.parent.mkdir(parents=True)
    root.rename(there)
    assert MimicVQA(root=tmp_path / "unpacked", images=tmp_path / "jpg").items()[0]
