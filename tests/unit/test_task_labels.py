"""Questions made of labels: nothing but the image tells their answers, and every study keeps its split."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from chexalign.data.questions import QuestionsWorker
from chexalign.data.tasks.balance import Case, equal_numbers, in_groups, one_right_each, opposites
from chexalign.data.tasks.chexpert_diseases import CheXpertDiseases
from chexalign.data.tasks.chexpert_images import read_path
from chexalign.data.tasks.chexpert_views import CheXpertViews
from chexalign.data.tasks.diseases import FINDINGS, LABELS, read_labels
from chexalign.data.tasks.findings import clearly_absent
from chexalign.data.tasks.mimic_diseases import MimicDiseases, read_study_labels
from chexalign.data.tasks.mimic_views import MimicViews
from chexalign.data.tasks.openi_diseases import OpenIDiseases
from chexalign.errors import UserError
from tests import task_trees, trees

CODES = [
    *(["Cardiomegaly/mild"], ["Pleural Effusion/left"], ["Pneumothorax/right"], ["Pulmonary Edema"], ["normal"]),
    *(["No Indexing"], ["Fractures, Bone/ribs"], ["Cardiomegaly", "Pneumothorax"]),
    *(["Pleural Effusion", "Fractures, Bone/ribs"], []),
]
SOURCES = {
    "mimic-diseases": lambda root: MimicDiseases(root=task_trees.mimic_labels_tree(root)),
    "chexpert-diseases": lambda root: CheXpertDiseases(root=task_trees.chexpert_tree(root, patients=80)),
    "openi-diseases": lambda root: OpenIDiseases(root=task_trees.openi_codes_tree(root, CODES * 6)),
    "mimic-views": lambda root: MimicViews(root=task_trees.mimic_labels_tree(root)),
    "chexpert-views": lambda root: CheXpertViews(root=task_trees.chexpert_tree(root)),
}
every_source = pytest.mark.parametrize("name", SOURCES)


def made_up_cases(n: int, *, seed: int = 0) -> list[Case]:
    draw = random.Random(seed)
    cases = []
    for i in range(n):
        present = frozenset(f for k, f in enumerate(FINDINGS) if draw.random() < 0.4 / (k % 7 + 1))
        cases.append(Case(f"s{i}", draw.choice(["train", "test"]), present, clearly_absent(FINDINGS, present)))
    return cases


def shares(drawn, cases):
    """How often each option is right, by split."""
    offered, right = Counter(), Counter()
    for d in drawn:
        offered.update((cases[d.case].split, o) for o in d.options)
        right.update((cases[d.case].split, o) for o in d.right)
    return {key: right[key] / n for key, n in offered.items()}


def test_a_group_has_one_case_for_each_option():
    cases = made_up_cases(600)
    drawn = one_right_each(cases, FINDINGS)
    assert len(drawn) > 200
    assert len({d.case for d in drawn}) == len(drawn)
    for group in in_groups(drawn):
        assert len({cases[d.case].split for d in group}) == 1
        assert sorted(d.right[0] for d in group) == sorted(group[0].options)
    for d in drawn:
        assert cases[d.case].present.intersection(d.options) == set(d.right)
        assert cases[d.case].absent >= set(d.options) - set(d.right)
    assert set(shares(drawn, cases).values()) == {0.25}


def test_opposites_make_every_option_right_half_of_the_time():
    cases = made_up_cases(600)
    drawn = opposites(cases, FINDINGS)
    assert len(drawn) > 200
    assert len({d.case for d in drawn}) == len(drawn)
    assert set(Counter(len(d.right) for d in drawn)) == {1, 2, 3}
    for d in drawn:
        assert cases[d.case].present >= set(d.right)
        assert cases[d.case].absent >= set(d.options) - set(d.right)
    assert set(shares(drawn, cases).values()) == {0.5}


def test_what_is_drawn_does_not_depend_on_the_order_of_the_cases():
    cases = made_up_cases(200)
    for draw in (one_right_each, opposites):
        first = {(cases[d.case].key, d.options, d.right) for d in draw(cases, FINDINGS)}
        back = cases[::-1]
        assert {(back[d.case].key, d.options, d.right) for d in draw(back, FINDINGS)} == first


def test_there_may_be_too_few_findings_or_cases():
    cases = [Case("a", "test", frozenset({"edema"}), frozenset({"fracture"}))]
    for findings in ([], ["edema"], ["edema", "lung opacity"], ["edema", "fracture"], FINDINGS):
        assert one_right_each(cases, findings) == opposites(cases, findings) == []
    both = [*cases, Case("b", "test", frozenset({"fracture"}), frozenset({"edema"}))]
    assert {d.right for d in one_right_each(both, ["edema", "fracture"])} == {("edema",), ("fracture",)}


def test_equal_numbers_keep_their_order_and_groups():
    rows = [("a", "x"), ("b", "y"), ("c", "x"), ("d", "x"), ("e", "y")]
    kept = equal_numbers(rows, name=lambda r: r[0], group=lambda r: 0, answer=lambda r: r[1], answers=("x", "y"))
    assert len(kept) == 4
    assert kept == [row for row in rows if row in kept]
    assert equal_numbers(rows, lambda r: r[0], lambda r: r[0], lambda r: r[1], ("x", "y")) == []


@every_source
def test_answers_follow_from_no_frequency(name, tmp_path):
    source = SOURCES[name](tmp_path)
    items, _ = source.items()
    offered, right = Counter(), Counter()
    for item in items:
        for draft in item.drafts:
            offered.update((draft.task, item.split, option) for option in draft.options)
            right.update((draft.task, item.split, answer) for answer in draft.answers)
    chance = {"view": 1 / 3, "single_disease": 1 / 4, "multi_disease": 1 / 2}
    assert {task for task, _, _ in offered} == ({"view"} if "view" in name else {"single_disease", "multi_disease"})
    assert all(right[key] / n == chance[key[0]] for key, n in offered.items())


@every_source
def test_the_place_of_the_right_option_varies(name, tmp_path):
    items, _ = SOURCES[name](tmp_path).items()
    drafts = [draft for item in items for draft in item.drafts if draft.answer_type == "choose"]
    assert len({draft.options.index(draft.answers[0]) for draft in drafts}) > 1


@every_source
def test_no_patient_is_in_two_splits_and_rows_are_made(name, tmp_path):
    source = SOURCES[name](tmp_path)
    items, dropped = source.items()
    splits = defaultdict(set)
    for item in items:
        splits[item.patient].add(item.split)
    assert all(len(found) == 1 for found in splits.values())
    worker = QuestionsWorker(source, items, tmp_path / "into", part_size=1000)
    rows = worker.part(0).rows
    assert len({row.id for row in rows}) == len(rows) == sum(len(item.drafts) for item in items)
    assert all(row.evidence for row in rows)
    assert all(n > 0 for n in dropped.values())


def test_labels_of_evidence_say_what_is_right_and_wrong(tmp_path):
    items, _ = SOURCES["openi-diseases"](tmp_path).items()
    draft = items[0].drafts[0]
    labels = {e.text: e.present for e in draft.evidence if e.kind == "label"}
    assert {text for text, present in labels.items() if present} == set(draft.answers)
    assert set(labels) == set(draft.options)
    assert [e for e in draft.evidence if e.kind == "code"]


def test_reports_that_nobody_coded_are_counted(tmp_path):
    _, dropped = SOURCES["openi-diseases"](tmp_path).items()
    assert dropped["not_indexed"] == 12


def test_values_of_label_tables():
    assert read_labels(["1", "0.0", "-1", "nan"], ["a", "b", "c", "d"]) == ({"a"}, {"c"})
    assert read_labels(["2"], ["a"]) is None
    assert read_labels(["yes"], ["a"]) is None


def test_odd_rows_of_a_label_table(tmp_path):
    blank = [""] * (len(LABELS) - 1)
    rows = [[1, 5, "1.0", *blank], [1, 5, "", *blank], [1, 6, "high", *blank], [1, "x", "", *blank], [1, 7]]
    path = trees.write_csv(tmp_path / "t.csv", ("subject_id", "study_id", *LABELS), rows)
    labels, dropped = read_study_labels(path)
    assert labels == {"5": ({"enlarged cardiomediastinum"}, set()), "7": (set(), set())}
    assert dropped == {"duplicate_row": 1, "malformed_row": 2}


def test_radiologists_labels_go_before_the_labeler_s(tmp_path):
    first, _ = MimicDiseases(root=task_trees.mimic_labels_tree(tmp_path / "a", studies=200)).items()
    items, _ = MimicDiseases(root=task_trees.mimic_labels_tree(tmp_path / "b", studies=200, by_hand=True)).items()
    assert any(item.split == "test" for item in first)
    assert not any(item.split == "test" for item in items)  # by hand, all of them are healthy here


def test_views_that_are_none_of_the_three_are_counted(tmp_path):
    root = task_trees.mimic_labels_tree(tmp_path)
    items, dropped = MimicViews(root=root).items()
    assert (dropped["no_view"], dropped["other_view"]) == (30, 30)
    assert len(items) + sum(dropped.values()) == 180
    assert {(item.drafts[0].part, item.pictures[0].view) for item in items} == {
        ("AP", "frontal"),
        ("PA", "frontal"),
        ("lateral", "lateral"),
    }


def test_a_link_out_of_the_images_is_not_followed(tmp_path):
    root = task_trees.mimic_labels_tree(tmp_path / "mimic")
    source = MimicViews(root=root)
    items, _ = source.items()
    outside = trees.write_image(tmp_path / "secret.jpg")
    path = root / items[0].pictures[0].path
    path.unlink()
    path.symlink_to(outside)
    assert QuestionsWorker(source, items[:1], tmp_path, part_size=1).part(0).dropped == {"image_outside_the_folder": 1}


def test_paths_of_chexpert():
    named = read_path("CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg")
    assert (named.patient, named.study, named.view, named.stem) == (
        *("patient00001", "patient00001_study1", "frontal"),
        "train/patient00001/study1/view1_frontal",
    )
    assert read_path("valid/patient64541/study1/view2_lateral.jpg").split == "validation"
    assert read_path("train/../../etc/patient1/study1/view1_frontal.jpg") is None
    assert read_path("train/patient1/study1/view1_frontal") is None


def test_tables_of_another_collection(tmp_path):
    with pytest.raises(UserError, match=r"train\.csv nor valid\.csv"):
        CheXpertDiseases(root=tmp_path).items()
    trees.write_csv(tmp_path / "train.csv", task_trees.KAGGLE, [])
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="has no column Path"):
        CheXpertViews(root=tmp_path).items()


@pytest.mark.parametrize("source", [MimicViews, MimicDiseases])
def test_of_a_part_of_the_images_balanced_questions_are_asked(source, tmp_path):
    root = task_trees.mimic_labels_tree(tmp_path, studies=120)
    files = sorted(root.rglob("*.jpg"))
    for path in files[::3]:
        path.unlink()
    items, dropped = source(root=root).items()
    assert dropped["image_missing"] > 0
    answers = Counter((item.split, item.drafts[0].answers[0]) for item in items if source is MimicViews)
    assert all(answers[split, view] == answers[split, "AP"] for split, view in answers)
    worker = QuestionsWorker(source(root=root), items, tmp_path, part_size=1000)
    assert worker.part(0).dropped == {}


def test_a_patient_of_two_official_splits_stays_held_out(tmp_path):
    root = task_trees.mimic_labels_tree(tmp_path, studies=120)
    rows = [["d", 50_000_000 + n, 10_000_000 + n // 2, ("train", "test")[n % 2]] for n in range(120)]
    columns = ("dicom_id", "study_id", "subject_id", "split")
    trees.write_csv(root / "mimic-cxr-2.0.0-split.csv.gz", columns, rows)
    items, dropped = MimicViews(root=root).items()
    assert dropped["patient_in_another_split"] > 0
    patients = Counter(patient for patient, _ in {(item.patient, item.split) for item in items})
    assert set(patients.values()) == {1}


def test_the_table_of_chexpert_plus(tmp_path):
    rows = [
        trees.plus_row(patient, 1, 1, lateral=kind == "lateral", ap_pa=kind.replace("lateral", ""))
        for patient, kind in enumerate(["AP", "PA", "lateral", "", "LL"] * 6, start=1)
    ]
    trees.write_plus(tmp_path, rows)
    for row in rows[1:]:
        trees.write_image(tmp_path / "PNG" / Path(row["path_to_image"]).with_suffix(".png"))
    items, dropped = CheXpertViews(root=tmp_path).items()
    assert {item.drafts[0].part for item in items} == {"AP", "PA", "lateral"}
    assert (dropped["image_missing"], dropped["no_view"], dropped["other_view"]) == (1, 6, 6)
    assert all("/PNG/" in item.pictures[0].path for item in items)
