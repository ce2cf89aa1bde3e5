"""Boxes of several readers are put to the vote; regions are asked about so that guessing by frequency is no help."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict

import pytest

from chexalign.data.questions import QuestionsWorker
from chexalign.data.tasks.boxes import MergedBox, ReadBox, merge, overlap
from chexalign.data.tasks.findings import clearly_absent, finding_name, may_both_be
from chexalign.data.tasks.ms_cxr import MSCXR
from chexalign.data.tasks.ms_cxr_table import read_phrases
from chexalign.data.tasks.nih_boxes import NIHBoxes, read_boxes
from chexalign.data.tasks.vindr import VinDrCXR
from chexalign.data.tasks.vindr_tables import add_image_labels, read_annotations
from chexalign.errors import UserError
from tests import task_trees, trees


def rows_of(source, folder):
    items, dropped = source.items()
    worker = QuestionsWorker(source, items, folder / "into", part_size=1000)
    parts = [worker.part(i) for i in range(worker.n_parts)]
    rows = [row for part in parts for row in part.rows]
    assert not any(part.dropped for part in parts)
    assert len({row.id for row in rows}) == len(rows)
    return rows, dropped


def assert_options_are_fair(rows):
    """Each option is right as often as its share of the options, in every split."""
    offered, right = Counter(), Counter()
    for row in rows:
        offered.update((row.split, option) for option in row.options)
        right.update((row.split, answer) for answer in row.answers)
    (size,) = {len(row.options) for row in rows}
    assert {key: n / size for key, n in offered.items()} == dict(right)


TREES = {
    "nih": lambda root: NIHBoxes(root=task_trees.nih_tree(root, images=160)),
    "nih without entries": lambda root: NIHBoxes(root=task_trees.nih_tree(root, entries=False)),
    "physionet": lambda root: VinDrCXR(root=task_trees.vindr_tree(root)),
    "kaggle": lambda root: VinDrCXR(root=task_trees.vindr_tree(root, layout="kaggle")),
    "ms-cxr 1.1.0": lambda root: MSCXR(root=task_trees.ms_cxr_tree(root)),
    "ms-cxr 1.0.0": lambda root: MSCXR(root=task_trees.ms_cxr_tree(root, version="1.0.0")),
}


@pytest.mark.parametrize("name", TREES)
def test_regions_are_asked_about_fairly_and_told_in_words(name, tmp_path):
    rows, _ = rows_of(TREES[name](tmp_path), tmp_path)
    regions = [row for row in rows if row.task == "region"]
    assert regions
    assert_options_are_fair(regions)
    for row in regions:
        assert row.kind == "region"
        assert "% of the image's width" in row.text
        assert not any(option in row.text for option in row.options)
        assert row.evidence[0].text == row.answers[0]
        assert not any(may_both_be(a, b, in_a_box=True) for a, b in itertools.combinations(row.options, 2))


@pytest.mark.parametrize("name", TREES)
def test_no_patient_is_in_two_splits(name, tmp_path):
    items, _ = TREES[name](tmp_path).items()
    splits = defaultdict(set)
    for item in items:
        splits[item.patient].add(item.split)
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.parametrize("name", ["nih", "physionet", "kaggle"])
def test_as_many_images_show_a_finding_as_do_not(name, tmp_path):
    rows, _ = rows_of(TREES[name](tmp_path), tmp_path)
    found = Counter((row.split, row.part, row.answers[0]) for row in rows if row.task == "binary")
    assert found
    assert all(found[split, part, "yes"] == found[split, part, "no"] for split, part, _ in found)


def test_a_box_of_nih_is_where_the_table_has_it(tmp_path):
    rows, _ = rows_of(NIHBoxes(root=task_trees.nih_tree(tmp_path)), tmp_path)
    row = next(row for row in rows if row.task == "region")
    assert row.evidence[0].box == (0.219809, 0.534198, 0.304555, 1.0)  # 225.08, 547.02, 86.78, 600.5 of 1024
    assert row.license == "NIH Clinical Center: no restrictions, with attribution"


def test_labels_that_nobody_boxed_are_not_called_absent(tmp_path):
    root = task_trees.nih_tree(tmp_path)
    table = root / "Data_Entry_2017.csv"
    table.write_text(table.read_text().replace("Hernia", "Pneumothorax"))
    items, _ = NIHBoxes(root=root).items()
    labels = {row.split(",")[0]: row.split(",")[1] for row in table.read_text().splitlines()}
    for item in items:
        for draft in item.drafts:
            wrong = set(draft.options) - set(draft.answers) if draft.task == "region" else set()
            denied = {draft.part} if draft.answers == ("no",) else set()
            assert not (wrong | denied) & set(map(finding_name, labels[item.study].split("|")))


def test_odd_rows_of_nih(tmp_path):
    good = ["00000001_000.png", "Mass", 1, 2, 3, 4, "", "", ""]
    rows = [good, good, [*good[:2], "x", 2, 3, 4], ["a.png", *good[1:]], [good[0], "Hernia", 1, 2, 3, 4]]
    rows += [[*good[:2], 1, 2, 0, 4], [*good[:2], 1030, 2, 3, 4], good[:3], [good[0], "Infiltrate", 0, 0, 9, 9]]
    boxes, dropped = read_boxes(trees.write_csv(tmp_path / "b.csv", task_trees.NIH_BOXES, rows))
    assert boxes == {good[0]: [("mass", (1.0, 2.0, 4.0, 6.0)), ("infiltration", (0.0, 0.0, 9.0, 9.0))]}
    assert dropped == {"duplicate_row": 1, "malformed_row": 6}


def read(*bounds, reader="a"):
    return ReadBox(tuple(map(float, bounds)), reader)


def test_boxes_merge_whatever_their_order():
    boxes = [
        read(0, 0, 10, 10),
        read(1, 1, 11, 11, reader="b"),
        read(0, 0, 10, 10),
        read(50, 50, 60, 60, reader="b"),
        read(52, 50, 62, 60, reader="c"),
        read(5, 5, 7, 7, reader="c"),  # inside the first, and too small to be the same
    ]
    expected = [
        MergedBox((0.5, 0.5, 10.5, 10.5), 2),
        MergedBox((5.0, 5.0, 7.0, 7.0), 1),
        MergedBox((51.0, 50.0, 61.0, 60.0), 2),
    ]
    assert all(merge(order) == expected for order in itertools.islice(itertools.permutations(boxes), 0, 720, 7))
    assert overlap(boxes[0].bounds, boxes[3].bounds) == 0.0


def test_votes_of_vindr(tmp_path):
    rows = [
        ["i", "R1", "Nodule/Mass", 0, 0, 10, 10],
        ["i", "R1", "Nodule/Mass", 0, 0, 10, 10],  # twice
        ["i", "R2", "Nodule/Mass", 1, 0, 11, 10],
        ["i", "R3", "Nodule/Mass", 50, 50, 60, 60],  # elsewhere, and alone
        ["i", "R3", "ILD", 50, 50, 60, 60],
        ["i", "R3", "Other lesion", 50, 50, 60, 60],
        ["j", "R1", "No finding", "", "", "", ""],
        ["j", "R2", "No finding", "nan", "NaN", "", ""],
        ["j", "R3", "No finding", 1, 2, 3, 4],
        ["k", "R3", "Pneumothorax", "", "", "", ""],
        ["k", "R3", "Pneumothorax", 5, 5, 1, 1],
        ["k", "", "Pneumothorax", 0, 0, 1, 1],
    ]
    readings, dropped = read_annotations(trees.write_csv(tmp_path / "t.csv", task_trees.VINDR_TRAIN, rows), votes=True)
    assert dropped == {"duplicate_row": 1, "malformed_row": 4}
    (box,) = readings["i"].agreed()
    assert (box.text, box.bounds) == ("nodule or mass", (0.5, 0.0, 10.5, 10.0))
    assert readings["i"].present() == {"nodule or mass"}
    assert readings["i"].seen() == {"nodule or mass", "interstitial lung disease"}
    assert readings["i"].rivals(box) == {"nodule or mass"}
    assert readings["j"].seen() == frozenset()
    labels = [["i", "R1", 0, 0, 1, 0], ["i", "R2", 0, 0, 1.0, 0], ["i", "R3", 1, 0, 0, 0], ["j", "R1", "x", 0, 0, 0]]
    path = trees.write_csv(tmp_path / "l.csv", ("image_id", "rad_id", *task_trees.GLOBAL[:4]), labels)
    assert add_image_labels(path, readings, votes=True) == 1
    assert readings["i"].present() == {"nodule or mass", "pneumonia"}
    assert "chronic obstructive pulmonary disease" in readings["i"].rivals(box)


def test_the_test_of_vindr_is_the_consensus_and_kaggle_s_is_cut_from_its_train(tmp_path):
    items, _ = VinDrCXR(root=task_trees.vindr_tree(tmp_path / "p")).items()
    assert {"/test/" in item.pictures[0].path for item in items if item.split == "test"} == {True}
    assert {"/train/" in item.pictures[0].path for item in items if item.split != "test"} == {True}
    items, _ = VinDrCXR(root=task_trees.vindr_tree(tmp_path / "k", layout="kaggle")).items()
    assert {item.split for item in items} == {"train", "validation", "test"}


def test_a_folder_without_either_layout_of_vindr(tmp_path):
    with pytest.raises(UserError, match=r"annotations_train\.csv, nor train\.csv"):
        VinDrCXR(root=tmp_path).items()


def test_phrases_have_their_boxes_together_and_their_own_splits(tmp_path):
    phrases, dropped = read_phrases(task_trees.ms_cxr_tree(tmp_path) / "MS_CXR_Local_Alignment_v1.1.0.csv")
    assert (len(phrases), dropped) == (48, {})
    assert Counter(len(phrase.boxes) for phrase in phrases) == {1: 40, 2: 8}
    assert {phrase.split for phrase in phrases} == {"train", "validation", "test"}


def test_sentences_are_of_other_images_and_each_is_right_once(tmp_path):
    rows, _ = rows_of(MSCXR(root=task_trees.ms_cxr_tree(tmp_path)), tmp_path)
    phrases = [row for row in rows if row.task == "phrase"]
    assert_options_are_fair(phrases)
    for row in phrases:
        assert f"made-up {row.evidence[0].text}," in row.answers[0].lower()
        assert sum(f"made-up {row.part}," in option.lower() for option in row.options) == 1


def test_splits_of_mimic_hold_for_the_first_version(tmp_path):
    root = task_trees.ms_cxr_tree(tmp_path, version="1.0.0")
    splits = [["x", 50_000_000 + n, 10_000_000 + n // 2, "validate" if n < 24 else "test"] for n in range(48)]
    columns = ("dicom_id", "study_id", "subject_id", "split")
    trees.write_csv(root / "mimic-cxr-2.0.0-split.csv.gz", columns, splits)
    items, _ = MSCXR(root=root).items()
    assert {item.study < "s50000024": item.split for item in items} == {True: "validation", False: "test"}


def test_splits_of_mimic_can_be_asked_for(tmp_path):
    root = task_trees.ms_cxr_tree(tmp_path)
    with pytest.raises(UserError, match=r"mimic-cxr-2\.0\.0-split\.csv\.gz"):
        MSCXR(root=root, splits="mimic").items()
    splits = [["x", 50_000_000 + n, 10_000_000 + n // 2, "test"] for n in range(36)]
    columns = ("dicom_id", "study_id", "subject_id", "split")
    trees.write_csv(root / "mimic-cxr-2.0.0-split.csv.gz", columns, splits)
    items, dropped = MSCXR(root=root, splits="mimic").items()
    assert {item.split for item in items} == {"test"}
    assert dropped["no_official_split"] == 12
    with pytest.raises(UserError, match="own or mimic"):
        MSCXR(root=root, splits="theirs")


def test_odd_rows_of_ms_cxr(tmp_path):
    good = task_trees.ms_cxr_rows(1)[0]
    rows = [
        good,
        good,
        [*good[:2], "files/p10/../p10000000/s50000000/x.jpg", *good[3:]],
        [*good[:3], "another-dicom", *good[4:]],
        [*good[:8], 0, *good[9:]],
        [*good[:8], "inf", *good[9:]],
        [*good[:4], 99, *good[5:]],
        ["Hernia", *good[1:]],
        [good[0], "  ", *good[2:]],
        [*good[:10], "dev"],
        [*good[:4], 1, *good[5:10], "test"],
    ]
    phrases, dropped = read_phrases(trees.write_csv(tmp_path / "v1.1.0.csv", task_trees.MS_CXR, rows))
    assert len(phrases) == 1
    assert dropped == {"duplicate_row": 1, "malformed_row": 7, "unknown_split": 1, "contradictory_row": 1}


def test_what_may_be_right_is_never_offered_as_wrong():
    assert may_both_be("lung opacity", "edema")
    assert may_both_be("edema", "lung opacity")
    assert not may_both_be("edema", "nodule")
    assert not may_both_be("pleural effusion", "atelectasis")
    assert may_both_be("pleural effusion", "atelectasis", in_a_box=True)
    absent = clearly_absent(["lung opacity", "fracture", "pneumonia"], ["consolidation"])
    assert absent == {"fracture"}
