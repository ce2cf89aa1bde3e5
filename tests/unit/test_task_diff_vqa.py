"""Medical-Diff-VQA in its official layout: pairs of exams in their order, frontal images, kinds of answers."""

from collections import Counter

import pytest

from chexalign.data.tasks.diff_vqa import DiffVQA
from chexalign.data.tasks.diff_vqa_evidence import evidence_of
from chexalign.errors import UserError
from tests.trees import write_csv
from tests.vqa_trees import PAIR_COLUMNS, STUDY_COLUMNS, diff_tree, put_outside, questions, write_json


@pytest.fixture
def root(tmp_path):
    return diff_tree(tmp_path / "diff", tmp_path / "jpg")


@pytest.fixture
def source(root, tmp_path):
    return DiffVQA(root=root, images=tmp_path / "jpg")


def test_pairs_run_forwards_and_every_row_is_accounted_for(source, tmp_path):
    rows, dropped = questions(source, tmp_path / "images")
    assert Counter(row.kind for row in rows) == {"compare": 3, "basic": 15}
    assert dropped == {"reference_is_not_earlier": 3, "no_frontal_image": 3}
    assert Counter(row.split for row in rows) == {"train": 6, "validation": 6, "test": 6}


def test_a_comparison_by_hand(source, tmp_path):
    rows, _ = questions(source, tmp_path / "images")
    row = next(row for row in rows if row.kind == "compare" and row.split == "train")
    assert (row.study_id, row.task, row.answer_type) == ("s50000001", "difference", "open")
    assert [image.role for image in row.images] == ["current", "prior"]
    assert ["s50000001" in row.images[0].path, "s50000000" in row.images[1].path] == [True, True]
    assert [(e.kind, e.text, e.present) for e in row.evidence] == [
        ("label", "edema", True),
        ("label", "mass", False),
        ("study", "s50000000", True),
    ]


def test_the_answers_of_one_exam(source, tmp_path):
    rows, _ = questions(source, tmp_path / "images")
    found = {row.part: (row.answer_type, row.options, row.answers) for row in rows if row.kind == "basic"}
    assert found == {
        "presence": ("verify", ("yes", "no"), ("yes",)),
        "abnormality": ("query", (), ("edema", "pleural effusion")),
        "view": ("choose", ("ap view", "pa view"), ("ap view",)),
        "location": ("choose", ("left side", "right side"), ("left side",)),
        "level": ("open", (), ("mild",)),
    }


def test_of_several_images_pa_is_taken(root, source, tmp_path):
    old, new = "02faf080-aaaaaaaa", "02faf081-aaaaaaaa"
    table = [
        [10000032, 50000001, "", "02faf082-aaaaaaaa", "lateral", "train", 21800102, 2],
        [10000032, 50000001, "", "x-antero", "antero-posterior", "train", 21800102, 2],
        [10000032, 50000001, "", new, "postero-anterior", "train", 21800102, 2],
        [10000032, 50000000, "", old, "PA", "train", 21800101, 1],
    ]
    write_csv(root / "mimic_all.csv", STUDY_COLUMNS, table)
    rows, dropped = questions(source, tmp_path / "images")
    assert {image.path.rpartition("/")[2] for row in rows for image in row.images} == {f"{old}.jpg", f"{new}.jpg"}
    assert "image_missing" not in dropped


def test_mimic_s_own_split_can_be_taken(root, tmp_path):
    table = (root / "mimic_all.csv").read_text().replace("validate", "test")
    (root / "mimic_all.csv").write_text(table)
    rows, _ = questions(DiffVQA(root=root, images=tmp_path / "jpg", splits="mimic"), tmp_path / "images")
    assert Counter(row.split for row in rows) == {"train": 6, "test": 12}


ROW = [50000001, 10000032, 50000000, "presence", "is there air?", "no", "train"]
BAD = {
    "malformed_row": [[None, *ROW[1:]], [*ROW[:4], "", *ROW[5:]],
                      [50000001, 1, "", "difference", "what?", "edema", "train"]],
    "unknown_question_type": [[*ROW[:3], "shape", *ROW[4:]]],
    "no_frontal_image": [[7, *ROW[1:]], [50000001, 1, 7, "difference", "what?", "edema", "train"]],
    "no_official_split": [[*ROW[:6], "dev"]],
    "reference_of_another_patient": [[50000001, 1, 50000010, "difference", "what?", "edema", "train"]],
    "duplicate_row": [ROW],
    "contradicts_an_earlier_row": [[*ROW[:5], "yes", "train"]],
}  # fmt: skip


@pytest.mark.parametrize(("reason", "row"), [(reason, row) for reason, rows in BAD.items() for row in rows])
def test_what_cannot_be_used_has_its_reason(source, root, tmp_path, reason, row):
    write_csv(root / "mimic_pair_questions.csv", PAIR_COLUMNS, [ROW, row])
    rows, dropped = questions(source, tmp_path / "images")
    assert ([row.answers for row in rows], dropped) == ([("no",)], {reason: 1})


def test_a_study_row_without_ids_is_counted(source, root, tmp_path):
    text = (root / "mimic_all.csv").read_text()
    (root / "mimic_all.csv").write_text(text + "x,1,,a,lateral,train,,\n10000032,50000001,,../a,PA,train,,\n")
    assert questions(source, tmp_path / "images")[1]["malformed_study"] == 2


def test_comparisons_with_several_earlier_exams_are_questions_of_their_own(source, root, tmp_path):
    text = (root / "mimic_all.csv").read_text()
    lateral = "10000032,50000002,,02faf082-aaaaaaaa,lateral"
    (root / "mimic_all.csv").write_text(text.replace(lateral, lateral.replace("lateral", "antero-posterior")))
    pairs = [[50000002, 1, ref, "difference", "what has changed?", "nothing.", "train"] for ref in (50000000, 50000001)]
    write_csv(root / "mimic_pair_questions.csv", PAIR_COLUMNS, pairs)
    rows, _ = questions(source, tmp_path / "images")
    assert [row.images[1].path.rpartition("/")[2] for row in rows] == ["02faf080-aaaaaaaa.jpg", "02faf081-aaaaaaaa.jpg"]


def test_exams_of_one_day_are_not_compared(source, root, tmp_path):
    text = (root / "mimic_all.csv").read_text()
    (root / "mimic_all.csv").write_text(text.replace(",2.0\n", ",1.0\n"))
    assert questions(source, tmp_path / "images")[1]["reference_is_not_earlier"] == 6


@pytest.mark.parametrize(("kind", "answer"), [("view", "lateral view"), ("level", "left side"), ("type", "PA view")])
def test_an_answer_that_was_not_offered_is_read_in_words(source, root, tmp_path, kind, answer):
    write_csv(root / "mimic_pair_questions.csv", PAIR_COLUMNS, [[50000001, 1, "", kind, "which?", answer, "train"]])
    rows, _ = questions(source, tmp_path / "images")
    assert [(row.answer_type, row.options, row.answers) for row in rows] == [("open", (), (answer,))]


def test_exams_of_unknown_order_are_not_compared(source, root, tmp_path):
    text = (root / "mimic_all.csv").read_text()
    (root / "mimic_all.csv").write_text(text.replace(",2.0\n", ",\n"))
    rows, dropped = questions(source, tmp_path / "images")
    assert {row.kind for row in rows} == {"basic"}
    assert dropped["reference_is_not_earlier"] == 6


def test_without_the_findings_there_is_less_evidence(source, root, tmp_path):
    for change in (
        (root / "all_diseases.json").unlink,
        lambda: write_json(root / "all_diseases.json", [3, {"entity": 1}]),
    ):
        change()
        rows, _ = questions(source, tmp_path / "images")
        told = {row.part: [e.text for e in row.evidence] for row in rows if row.split == "train"}
        assert told.pop("difference") == ["edema", "s50000000"]
        assert told.pop("presence") == ["edema"]
        assert not any(told.values())


@pytest.mark.parametrize(
    ("kind", "text", "answer", "told"),
    [
        ("difference", "what has changed?", "the main image has additional findings of consolidation, and pneumonia "
         "than the reference image. the main image is missing the findings of edema, mass, and lung opacity than the "
         "reference image. ",
         {"consolidation": True, "pneumonia": True, "edema": False, "mass": False, "lung opacity": False}),
        ("difference", "what?", "the level of edema has changed from mild to severe. ", {"edema": True}),
        ("difference", "what?", "nothing has changed.", {}),
        ("presence", "is there edema?", "no", {"edema": False}),
        ("presence", "is there air in the right apical area?", "yes", {"air/right apical area": True}),
        ("presence", "is there evidence of edema in this image?", "yes", {"edema": True}),
        ("presence", "is the edema bilateral?", "yes", {}),
        ("presence", "is there edema?", "perhaps", {}),
        ("view", "is there a view?", "yes", {}),
    ],
)  # fmt: skip
def test_evidence_is_what_the_words_say(kind, text, answer, told):
    assert {e.text: e.present for e in evidence_of(kind, text, answer)} == told


def test_a_link_out_of_the_tree_is_not_followed(source, tmp_path):
    put_outside(tmp_path / "jpg/files/p10/p10000032/s50000000/02faf080-aaaaaaaa.jpg", tmp_path / "outside")
    assert questions(source, tmp_path / "images")[1]["image_outside_the_folder"] == 1


def test_missing_parts_are_named(source, root):
    (root / "mimic_all.csv").unlink()
    with pytest.raises(UserError, match=r"has no mimic_all\.csv"):
        source.items()
    write_csv(root / "mimic_all.csv", STUDY_COLUMNS, [])
    with pytest.raises(UserError, match="p10 to files/p19"):
        DiffVQA(root=root).items()
    write_csv(root / "mimic_all.csv", ("study_id", "dicom_id"), [])
    with pytest.raises(UserError, match="has no column subject_id"):
        source.items()
