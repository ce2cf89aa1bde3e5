"""Whatever stands in the tables of labels and boxes: no crash, and every row is used or counted with a reason."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from chexalign.data.questions import QuestionsWorker
from chexalign.data.tasks.balance import Case, one_right_each, opposites
from chexalign.data.tasks.boxes import ReadBox, merge, overlap
from chexalign.data.tasks.chexpert_diseases import CheXpertDiseases
from chexalign.data.tasks.chexpert_views import CheXpertViews
from chexalign.data.tasks.diseases import LABELS
from chexalign.data.tasks.findings import clearly_absent
from chexalign.data.tasks.mimic_diseases import MimicDiseases, read_study_labels
from chexalign.data.tasks.mimic_views import MimicViews
from chexalign.data.tasks.ms_cxr import MSCXR
from chexalign.data.tasks.ms_cxr_table import read_phrases
from chexalign.data.tasks.nih_boxes import NIHBoxes, read_boxes
from chexalign.data.tasks.rle import bounds, decode
from chexalign.data.tasks.rsna import RSNAPneumonia, read_labels
from chexalign.data.tasks.siim import SIIMPneumothorax, read_masks
from chexalign.data.tasks.vindr import VinDrCXR
from chexalign.data.tasks.vindr_tables import add_image_labels, read_annotations
from tests import task_trees, trees

ODD = st.sampled_from(["", "nan", "-1", "0", "1", "1.0", "1e999", "-5", "512", "x", "../..", "a\x00b", "é", '"', " "])
NAME = st.sampled_from(["a", "b", "00000001_000.png", "", "../a", "é"])


def table(folder: str, columns: Sequence[str], rows: Sequence[Sequence[str]], name: str = "t.csv") -> Path:
    return trees.write_csv(Path(folder) / name, columns, rows)


def run(source, root: Path) -> tuple[list, Counter[str]]:
    """The rows of a collection, and why others are missing."""
    items, dropped = source.items()
    worker = QuestionsWorker(source, items, root / "into", part_size=100)
    parts = [worker.part(i) for i in range(worker.n_parts)]
    rows = [row for part in parts for row in part.rows]
    assert len(rows) + sum(n for part in parts for n in part.dropped.values()) == sum(len(i.drafts) for i in items)
    return rows, Counter(dropped)


@given(rows=st.lists(st.tuples(NAME, ODD, ODD, ODD, ODD, ODD), max_size=12))
def test_rows_of_rsna(rows):
    with tempfile.TemporaryDirectory() as folder:
        boxes, dropped = read_labels(table(folder, task_trees.RSNA, rows))
        Path(folder, "stage_2_train_images").mkdir()
        Path(folder, "stage_2_train_images", "a.png").touch()
        Path(folder, "t.csv").rename(Path(folder, "stage_2_train_labels.csv"))
        items, why = RSNAPneumonia(root=Path(folder), balanced=False).items()
    used = sum(max(1, len(found)) for found in boxes.values())
    both = dropped.pop("contradictory_label")
    rest = len(rows) - used - sum(dropped.values())
    assert rest >= 2 * both
    assert (rest == 0) == (both == 0)
    assert len(items) + why.get("image_missing", 0) == len(boxes)


@given(rows=st.lists(st.tuples(NAME, st.one_of(ODD, st.text("0123456789 -", max_size=12))), max_size=12))
@settings(max_examples=50)
def test_rows_of_siim(rows):
    with tempfile.TemporaryDirectory() as folder:
        boxes, dropped = read_masks(table(folder, task_trees.SIIM, rows))
        Path(folder, "dicom-images-train").mkdir()
        Path(folder, "dicom-images-train", "a.dcm").touch()
        Path(folder, "t.csv").rename(Path(folder, "train-rle.csv"))
        items, why = SIIMPneumothorax(root=Path(folder), balanced=False).items()
    both = dropped.pop("contradictory_label")
    rest = len(rows) - sum(max(1, len(found)) for found in boxes.values()) - sum(dropped.values())
    assert (rest == 0) == (both == 0)
    assert len(items) + why.get("image_missing", 0) == len(boxes)


@given(runs=st.text("0123456789 ", max_size=20), width=st.integers(1, 9), height=st.integers(1, 9))
def test_masks_are_inside_their_image_or_none(runs, width, height):
    mask = decode(runs, width=width, height=height)
    if mask is not None:
        assert mask.shape == (height, width)
        assert mask.sum() == sum(map(int, runs.split()[1::2]))
        left, top, right, bottom = bounds(mask)
        assert mask[int(top) : int(bottom), int(left) : int(right)].sum() == mask.sum()


@given(
    rows=st.lists(st.tuples(NAME, st.sampled_from(["Mass", "Infiltrate", "mass ", "", "x"]), *(ODD,) * 4), max_size=12)
)
def test_rows_of_nih(rows):
    with tempfile.TemporaryDirectory() as folder:
        boxes, dropped = read_boxes(table(folder, task_trees.NIH_BOXES, rows))
        assert sum(map(len, boxes.values())) + sum(dropped.values()) == len(rows)
        trees.write_image(Path(folder) / "00000001_000.png")
        Path(folder, "t.csv").rename(Path(folder, "BBox_List_2017.csv"))
        run(NIHBoxes(root=Path(folder)), Path(folder))


LABEL = st.sampled_from(["No finding", "Nodule/Mass", "ILD", "Other lesion", "", "Pneumothorax"])
READER = st.sampled_from(["R1", "R2", "R3", "", " "])


@given(
    rows=st.lists(st.tuples(NAME, READER, LABEL, *(ODD,) * 4), max_size=12),
    labels=st.lists(st.tuples(NAME, READER, *(ODD,) * 4), max_size=6),
)
def test_rows_of_vindr(rows, labels):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = table(folder, task_trees.VINDR_TRAIN, rows, "annotations_train.csv")
        readings, dropped = read_annotations(path, votes=True)
        told = table(folder, ("image_id", "rad_id", *task_trees.GLOBAL[:4]), labels, "image_labels_train.csv")
        assert 0 <= add_image_labels(told, readings, votes=True) <= len(labels)
        assert sum(len(found) for reading in readings.values() for found in reading.boxes.values()) <= len(rows)
        assert sum(dropped.values()) <= len(rows)
        for reading in readings.values():
            assert {box.text for box in reading.agreed()} <= reading.present() <= reading.seen()
        trees.write_image(root / "train/a.png")
        run(VinDrCXR(root=root), root)


PATH = st.sampled_from(
    [
        "files/p10/p10000001/s50000001/d-1.jpg",
        "files/p10/p10000002/s50000002/d-1.jpg",
        "files/../p10/p10000001/s50000001/../d-1.jpg",
        "d-1.jpg",
        "",
    ]
)
CATEGORY = st.sampled_from(["Edema", "Pneumothorax", "Cardiomegaly", "", "x"])
SPLIT = st.sampled_from(["train", "val", "test", "", "dev"])


@given(rows=st.lists(st.tuples(CATEGORY, ODD, PATH, st.sampled_from(["d-1", "e"]), *(ODD,) * 6, SPLIT), max_size=12))
def test_rows_of_ms_cxr(rows):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = table(folder, task_trees.MS_CXR, rows, "MS_CXR_Local_Alignment_v1.1.0.csv")
        phrases, dropped = read_phrases(path)
        assert sum(len(phrase.boxes) for phrase in phrases) + sum(dropped.values()) == len(rows)
        trees.write_image(root / "files/p10/p10000001/s50000001/d-1.jpg")
        run(MSCXR(root=root), root)


STUDY = st.sampled_from(["50000001", "50000002", "", "x", "../1", "１"])


@given(rows=st.lists(st.tuples(STUDY, st.lists(ODD, min_size=13, max_size=13)), max_size=8), data=st.data())
def test_rows_of_mimic_labels_and_views(rows, data):
    views = data.draw(st.lists(st.tuples(NAME, STUDY, STUDY, ODD), max_size=8))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = table(
            folder, ("study_id", *LABELS), [[study, *cells] for study, cells in rows], "mimic-cxr-2.0.0-chexpert.csv"
        )
        labels, dropped = read_study_labels(path)
        assert len(labels) + sum(dropped.values()) == len(rows)
        metadata = [[d, p, s, "", v, 1, 1, 21800101, "1.0", "", "", ""] for d, p, s, v in views]
        trees.write_csv(root / "mimic-cxr-2.0.0-metadata.csv", trees.METADATA, metadata)
        trees.write_csv(root / "mimic-cxr-2.0.0-split.csv", ("study_id", "split"), [["50000001", "test"]])
        (root / "files/p10").mkdir(parents=True)
        run(MimicDiseases(root=root), root)
        items, why = MimicViews(root=root).items()
        assert len(items) + sum(why.values()) == len(views)


CHEXPERT_PATH = st.sampled_from(
    [
        "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg",
        "CheXpert-v1.0/train/patient00001/study1/view2_lateral.jpg",
        "train/patient00001/study1/../view1_frontal.jpg",
        "",
        "x",
    ]
)


@given(rows=st.lists(st.tuples(CHEXPERT_PATH, ODD, st.lists(ODD, min_size=13, max_size=13)), max_size=8))
def test_rows_of_chexpert(rows):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        trees.write_csv(root / "train.csv", ("Path", "AP/PA", *LABELS), [[p, v, *cells] for p, v, cells in rows])
        trees.write_image(root / "train/patient00001/study1/view1_frontal.jpg")
        run(CheXpertDiseases(root=root), root)
        items, why = CheXpertViews(root=root).items()
        assert len(items) + sum(why.values()) == len(rows)


SIDE = st.integers(0, 30).map(float)
BOX = st.tuples(SIDE, SIDE, st.integers(1, 9), st.integers(1, 9), st.sampled_from("abc")).map(
    lambda b: ReadBox((b[0], b[1], b[0] + b[2], b[1] + b[3]), b[4])
)


@given(boxes=st.lists(BOX, max_size=8), data=st.data())
def test_merged_boxes_do_not_depend_on_order_and_hold_every_reader(boxes, data):
    merged = merge(boxes)
    assert merged == merge(data.draw(st.permutations(boxes)))
    assert len(merged) <= len(boxes)
    assert bool(merged) == bool(boxes)
    assert all(1 <= box.votes <= len({b.reader for b in boxes}) for box in merged)
    for one in boxes:
        assert overlap(one.bounds, one.bounds) == 1.0


NAMES = ("cardiomegaly", "edema", "fracture", "lung opacity", "pleural effusion", "pneumonia", "pneumothorax")


@given(present=st.lists(st.frozensets(st.sampled_from(NAMES), max_size=4), max_size=40), data=st.data())
def test_every_option_is_right_equally_often(present, data):
    splits = data.draw(st.lists(st.sampled_from(["train", "test"]), min_size=len(present), max_size=len(present)))
    cases = [
        Case(f"s{i}", split, seen, clearly_absent(NAMES, seen))
        for i, (seen, split) in enumerate(zip(present, splits, strict=True))
    ]
    for drawn, share in ((one_right_each(cases, NAMES), 1 / 4), (opposites(cases, NAMES), 1 / 2)):
        offered, right = Counter(), Counter()
        for d in drawn:
            case = cases[d.case]
            assert case.present.intersection(d.options) == set(d.right)
            assert case.absent >= set(d.options) - set(d.right)
            offered.update((case.split, option) for option in d.options)
            right.update((case.split, option) for option in d.right)
        assert len({d.case for d in drawn}) == len(drawn)
        assert all(right[key] == n * share for key, n in offered.items())
