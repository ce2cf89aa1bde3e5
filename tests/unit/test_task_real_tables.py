"""The real annotation files of public collections, as the package torchxrayvision carries them; no image is needed."""

from __future__ import annotations

import gzip
import itertools
import shutil
from collections import Counter
from pathlib import Path

import pytest

from chexalign.data.openi import find_packaged, read_reports
from chexalign.data.questions import Picture
from chexalign.data.tasks import chexpert_diseases, chexpert_views
from chexalign.data.tasks.chexpert_diseases import CheXpertDiseases
from chexalign.data.tasks.chexpert_views import CheXpertViews
from chexalign.data.tasks.nih_boxes import NIHBoxes, read_boxes
from chexalign.data.tasks.openi_diseases import OpenIDiseases
from chexalign.data.tasks.rsna import RSNAPneumonia, read_labels
from chexalign.data.tasks.siim import SIIMPneumothorax, read_masks
from chexalign.data.tasks.vindr import VinDrCXR
from chexalign.data.tasks.vindr_tables import read_annotations
from chexalign.errors import UserError


def packaged(name: str) -> Path:
    try:
        return find_packaged(name)
    except UserError:
        pytest.skip(f"torchxrayvision, which carries {name}, is not installed")


def tree(root: Path, tables: dict[str, str], images: list[str]) -> Path:
    """The tables under their official names, and an empty file for each image."""
    for name, official in tables.items():
        shutil.copy(packaged(name), root / official)
    for path in images:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def counted(items):
    return Counter(draft.task for item in items for draft in item.drafts)


def test_rsna(tmp_path):
    name = "kaggle_stage_2_train_labels.csv.zip"
    boxes, dropped = read_labels(packaged(name))
    assert +dropped == {}
    assert (len(boxes), sum(map(bool, boxes.values()))) == (26_684, 6_012)
    assert sum(max(len(found), 1) for found in boxes.values()) == 30_227  # the rows of the table
    images = [f"stage_2_train_images/{image}.dcm" for image in boxes]
    items, dropped = RSNAPneumonia(
        root=tree(tmp_path, {name: "stage_2_train_labels.csv.zip"}, images), balanced=False
    ).items()
    assert (len(items), dropped) == (26_684, {})
    splits = Counter(item.split for item in items)
    assert splits["train"] / len(items) == pytest.approx(0.7, abs=0.01)


def test_siim(tmp_path):
    name = "siim-pneumothorax-train-rle.csv.gz"
    boxes, dropped = read_masks(packaged(name))
    assert +dropped == {}
    assert (len(boxes), sum(map(bool, boxes.values()))) == (12_047, 2_669)
    assert sum(max(len(found), 1) for found in boxes.values()) == 12_954  # the rows of the table
    assert all(
        0 <= left < right <= 1024 and 0 <= top < bottom <= 1024
        for found in boxes.values()
        for left, top, right, bottom in found
    )


def test_siim_without_images(tmp_path):
    root = tree(tmp_path, {"siim-pneumothorax-train-rle.csv.gz": "train-rle.csv.gz"}, ["dicom-images-train/a/b/c.dcm"])
    items, dropped = SIIMPneumothorax(root=root).items()
    assert (items, dropped) == ([], {"image_missing": 12_047})


def test_nih(tmp_path):
    tables = {"BBox_List_2017.csv.gz": "BBox_List_2017.csv.gz"}
    boxes, dropped = read_boxes(packaged("BBox_List_2017.csv.gz"))
    assert +dropped == {}
    assert (len(boxes), sum(map(len, boxes.values()))) == (880, 984)
    root = tree(tmp_path, tables, [f"images/{name}" for name in boxes])
    assert set(counted(NIHBoxes(root=root).items()[0])) == {"region"}
    tree(root, {"Data_Entry_2017_v2020.csv.gz": "Data_Entry_2017_v2020.csv.gz"}, [])
    items, _ = NIHBoxes(root=root).items()
    assert counted(items)["binary"] > 1500


@pytest.mark.slow
def test_vindr(tmp_path):
    name = "vinbigdata-train.csv.gz"
    readings, dropped = read_annotations(packaged(name), votes=True)
    assert +dropped == {}
    assert len(readings) == 15_000
    assert {len(reading.readers) for reading in readings.values()} == {3}
    assert sum(not reading.voters for reading in readings.values()) == 10_614  # 8 of them hold "Other lesion" alone
    root = tree(tmp_path, {name: "train.csv.gz"}, [f"train/{image}.dicom" for image in readings])
    items, _ = VinDrCXR(root=root).items()
    assert counted(items)["region"] > 4000


@pytest.mark.slow
def test_chexpert(tmp_path, monkeypatch):
    for module in (chexpert_views, chexpert_diseases):
        monkeypatch.setattr(module, "image_file", lambda folders, named: Picture(named.stem, named.view))
    root = tree(tmp_path, {"chexpert_train.csv.gz": "train.csv.gz"}, ["train/x.jpg"])
    items, dropped = CheXpertViews(root=root).items()
    assert len(items) + sum(dropped.values()) == 223_414
    assert dropped["other_view"] == 17  # frontal ones that are neither AP nor PA
    table = root / "train.csv.gz"
    with gzip.open(table, "rt") as f:
        (root / "train.csv").write_text("".join(itertools.islice(f, 20_001)))
    table.unlink()
    items, dropped = CheXpertDiseases(root=root).items()
    assert "malformed_row" not in dropped
    assert counted(items)["single_disease"] > 3_000


@pytest.mark.slow
def test_openi(tmp_path):
    reports = read_reports(packaged("NLMCXR_reports.tgz"), {})
    images = [f"NLMCXR_png/{name}.png" for report in reports for name, _ in report.images]
    root = tree(tmp_path, {"NLMCXR_reports.tgz": "NLMCXR_reports.tgz"}, images)
    items, dropped = OpenIDiseases(root=root).items()
    assert sum(dropped[reason] for reason in ("image_missing", "no_image_of_the_views", "not_indexed")) < 3_955
    assert counted(items)["single_disease"] > 200
