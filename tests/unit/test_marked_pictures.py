"""Regions of real collections can be shown by a mark on the image instead of being told in words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexalign.data.marked_pictures import MarkedPicture, mark_regions
from chexalign.data.questions import REGION, Draft, Picture, PixelBox, QuestionItem, QuestionsWorker
from chexalign.data.tasks.ms_cxr import MSCXR
from chexalign.data.tasks.nih_boxes import NIHBoxes
from chexalign.data.tasks.vindr import VinDrCXR
from tests import task_trees

SOURCES = {
    "nih": lambda root, mark: NIHBoxes(root=task_trees.nih_tree(root, images=160), mark=mark),
    "vindr": lambda root, mark: VinDrCXR(root=task_trees.vindr_tree(root), mark=mark),
    "ms-cxr": lambda root, mark: MSCXR(root=task_trees.ms_cxr_tree(root), mark=mark),
}


def rows_of(source, images):
    items, _ = source.items()
    worker = QuestionsWorker(source, items, images, part_size=100_000)
    return worker.part(0)


@pytest.mark.parametrize("name", SOURCES)
def test_the_same_regions_are_asked_about_with_their_boxes_as_evidence(name, tmp_path):
    told = rows_of(SOURCES[name](tmp_path / "a", "words"), tmp_path / "images").rows
    shown = rows_of(SOURCES[name](tmp_path / "b", "any"), tmp_path / "images").rows
    assert len(told) == len(shown)
    assert not {row.id for row in told if row.kind == "region"} & {row.id for row in shown}
    boxes = [
        Counter(
            (row.study_id, row.answers, e.box) for row in rows if row.kind == "region" for e in row.evidence if e.box
        )
        for rows in (told, shown)
    ]
    assert boxes[0]
    assert boxes[0] == boxes[1]
    for row in shown:
        if row.kind == "region":
            assert "%" not in row.text
            assert any(words in row.text for words in ("inside the drawn", "where the arrow points"))
            (image,) = row.images
            assert not image.synthetic
            with Image.open((tmp_path / image.path) if not Path(image.path).is_absolute() else image.path) as file:
                assert file.size == (image.width_px, image.height_px)
                assert file.mode == "L"


def item(path, *, bounds=(10, 20, 40, 50), drafts=1):
    shown = [
        Draft(
            f"r{i}",
            "region",
            "p",
            "choose",
            f"What is {REGION}?",
            ("a", "b"),
            ("a",),
            "region",
            boxes=(PixelBox("a", bounds),),
        )
        for i in range(drafts)
    ]
    plain = Draft("v", "binary", "p", "verify", "Is it?", ("yes", "no"), ("no",))
    return QuestionItem("s", "p", "train", (Picture(str(path), "frontal"),), (plain, *shown))


class Source:
    name, license = "hand", "CC0"


def drawn(items, images):
    return QuestionsWorker(Source(), items, images, part_size=10).part(0)


@pytest.mark.parametrize("mark", ["box", "arrow", "contour"])
def test_only_the_image_of_the_region_is_marked(mark, tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (80, 60), (90, 90, 90)).save(path)
    plain, shown = drawn(mark_regions([item(path)], mark), tmp_path / "images").rows
    assert plain.images[0].path == str(path)
    pixels = np.asarray(Image.open(tmp_path / shown.images[0].path))
    assert pixels.shape == (60, 80)
    assert {0, 255} <= set(np.unique(pixels))
    assert (pixels == 90).mean() > 0.5
    assert [e.box for e in shown.evidence] == [(0.125, 0.333333, 0.5, 0.833333)]


def test_words_and_other_questions_stay_as_they_are(tmp_path):
    given = item(tmp_path / "a.png")
    assert mark_regions([given], "words") == [given]
    pair = QuestionItem("s", "p", "train", given.pictures * 2, given.drafts)
    assert mark_regions([pair], "box") == [pair]
    parted = mark_regions([item(tmp_path / "a.png", drafts=2)], "box")
    assert [len(one.drafts) for one in parted] == [1, 1, 1]
    assert [isinstance(one.pictures[0], MarkedPicture) for one in parted] == [False, True, True]


def test_what_cannot_be_marked_is_counted(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("L", (80, 60)).save(path)
    outside = mark_regions([item(path, bounds=(90, 0, 99, 10))], "box")
    missing = mark_regions([item(tmp_path / "none.png")], "box")
    result = drawn([*outside, *missing], tmp_path / "images")
    assert result.dropped == {"box_outside_the_image": 1, "image_missing": 2}

    def broken(*_):
        raise OSError("broken data stream")  # as PIL says where the data of a JPEG is damaged

    monkeypatch.setattr("chexalign.data.marked_pictures.marked", broken)
    assert drawn(mark_regions([item(path)], "box"), tmp_path / "images").dropped == {"image_unreadable": 1}
