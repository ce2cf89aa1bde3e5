"""RSNA and SIIM-ACR in their official layouts: labels by image, boxes in the right place, splits that do not leak."""

from __future__ import annotations

import zipfile
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

from chexalign.data.questions import QuestionsWorker
from chexalign.data.tasks.boxes import read_corner_and_size
from chexalign.data.tasks.rle import bounds, decode
from chexalign.data.tasks.rsna import RSNAPneumonia, read_labels
from chexalign.data.tasks.siim import SIIMPneumothorax, read_masks
from chexalign.errors import UserError
from tests import dicoms, task_trees, trees

BOTH = pytest.mark.parametrize(
    ("source", "tree"), [(RSNAPneumonia, task_trees.rsna_tree), (SIIMPneumothorax, task_trees.siim_tree)]
)


def answers(items):
    return Counter((item.split, draft.answers[0]) for item in items for draft in item.drafts)


@BOTH
def test_every_image_is_asked_about_once_with_the_right_answer(source, tree, tmp_path):
    items, dropped = source(root=tree(tmp_path), balanced=False).items()
    assert len(items) == len({item.study for item in items}) == 40
    assert dropped == {}
    for item in items:
        (draft,) = item.drafts
        sick = int(item.study.strip("img").split(".")[-1]) % 4 == 0
        assert draft.answers == ("yes" if sick else "no",)
        assert bool(draft.boxes) == sick


@BOTH
def test_half_of_the_answers_of_each_split_are_yes(source, tree, tmp_path):
    items, dropped = source(root=tree(tmp_path)).items()
    found = answers(items)
    assert {split for split, _ in found} == {"train", "validation", "test"}
    assert all(found[split, "yes"] == found[split, "no"] for split, _ in found)
    assert len(items) + dropped["beyond_the_balance"] == 40


@BOTH
def test_the_wording_says_nothing_of_the_answer(source, tree, tmp_path):
    items, _ = source(root=tree(tmp_path, images=400)).items()
    said = defaultdict(Counter)
    for item in items:
        said[item.drafts[0].text][item.drafts[0].answers[0]] += 1
    assert len(said) == 3
    assert all(abs(found["yes"] / found.total() - 0.5) < 0.15 for found in said.values())
    assert {item.drafts[0].options for item in items} == {("yes", "no")}


@BOTH
def test_a_missing_image_is_counted_and_the_rest_stays_balanced(source, tree, tmp_path):
    root = tree(tmp_path)
    gone = next(path for path in sorted(root.rglob("*.png")))
    gone.unlink()
    items, dropped = source(root=root).items()
    found = answers(items)
    assert dropped["image_missing"] == 1
    assert all(found[split, "yes"] == found[split, "no"] for split, _ in found)


@BOTH
def test_rows_are_made(source, tree, tmp_path):
    taken = source(root=tree(tmp_path), balanced=False)
    items, _ = taken.items()
    worker = QuestionsWorker(taken, items, tmp_path / "into", part_size=100)
    (rows,) = [worker.part(i).rows for i in range(worker.n_parts)]
    assert len({row.id for row in rows}) == 40
    assert all(row.evidence for row in rows if row.answers == ("yes",))


def test_boxes_of_rsna_are_merged_by_image_and_cut_at_its_edge(tmp_path):
    taken = RSNAPneumonia(root=task_trees.rsna_tree(tmp_path), balanced=False)
    items, _ = taken.items()
    worker = QuestionsWorker(taken, items, tmp_path, part_size=100)
    row = next(row for row in worker.part(0).rows if row.study_id == "img0")
    label, *boxes = row.evidence
    assert label.text == "Lung Opacity"
    assert [box.box[2] for box in boxes] == [pytest.approx(477 / 1024, abs=1e-5), 1.0]


def test_dicom_files_are_decoded_and_boxes_stay_in_place(tmp_path):
    pytest.importorskip("pydicom")
    root = task_trees.rsna_tree(tmp_path)
    path = root / "stage_2_train_images/img0"
    path.with_suffix(".png").unlink()
    pixels = np.full((64, 64), 200, np.uint8)
    pixels[int(64 * 152 / 1024) : int(64 * 531 / 1024), int(64 * 264 / 1024) : int(64 * 477 / 1024)] = 0
    dicom = dicoms.dataset(pixels, bits=8, PhotometricInterpretation="MONOCHROME1")
    path.with_suffix(".dcm").write_bytes(dicoms.as_bytes(dicom))
    taken = RSNAPneumonia(root=root, balanced=False)
    items = [item for item in taken.items()[0] if item.study == "img0"]
    (row,) = QuestionsWorker(taken, items, tmp_path / "images", part_size=1).part(0).rows
    image = Image.open(tmp_path / row.images[0].path)
    left, top, right, bottom = (round(at * 64) for at in row.evidence[1].box)
    values = np.asarray(image)
    assert (row.images[0].width_px, values.shape) == (64, (64, 64))
    assert values[top + 1 : bottom - 1, left + 1 : right - 1].min() == 255  # dark before it was inverted
    assert max(values[: top - 1].max(), values[bottom + 1 :].max(), values[:, : left - 1].max()) == 55


def test_images_of_one_person_are_in_one_split(tmp_path):
    items, _ = RSNAPneumonia(root=task_trees.rsna_tree(tmp_path, mapping=True), balanced=False).items()
    splits = defaultdict(set)
    for item in items:
        splits[item.patient].add(item.split)
    assert len(splits) == 20
    assert all(len(found) == 1 for found in splits.values())


def test_odd_rows_of_rsna(tmp_path):
    rows = [
        ["a", "", "", "", "", 0],
        ["b", 1, 2, 3, 4, 1],
        ["b", 1, 2, 3, 4, 1],  # twice
        ["c", "", "", "", "", 1],  # sick without a box
        ["d", 1, 2, 3, 4, 0],  # healthy with one
        ["e", "nan", 2, 3, 4, 1],
        ["f", 1, 2, -3, 4, 1],
        ["g", 2000, 2, 30, 4, 1],  # beyond the image
        ["h", 1, 2, 3, 4, 2],
        ["", 1, 2, 3, 4, 1],
        ["i", "", "", "", "", 0],
        ["i", 1, 2, 3, 4, 1],  # contradicts itself
        ["j"],
    ]
    boxes, dropped = read_labels(trees.write_csv(tmp_path / "labels.csv", task_trees.RSNA, rows))
    assert boxes == {"a": [], "b": [(1.0, 2.0, 4.0, 6.0)]}
    assert dropped == {"malformed_row": 8, "duplicate_row": 1, "contradictory_label": 1}


def test_a_packed_table_is_read_as_it_is(tmp_path):
    root = task_trees.rsna_tree(tmp_path)
    plain, _ = RSNAPneumonia(root=root).items()
    table = root / "stage_2_train_labels.csv"
    with zipfile.ZipFile(root / "stage_2_train_labels.csv.zip", "w") as archive:
        archive.write(table, table.name)
    table.unlink()
    assert RSNAPneumonia(root=root).items()[0] == plain


def test_a_wrong_folder_is_told_with_what_is_there(tmp_path):
    root = task_trees.siim_tree(tmp_path / "siim")
    with pytest.raises(UserError, match=r"no stage_2_train_labels\.csv") as e:
        RSNAPneumonia(root=root).items()
    assert "train-rle.csv" in e.value.why
    with pytest.raises(UserError, match=r"data\.root is missing"):
        SIIMPneumothorax().items()
    for path in root.rglob("*.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"dicom-images-train/\*/\*/\*\.dcm"):
        SIIMPneumothorax(root=root).items()


def test_another_file_under_the_name_of_the_mappings(tmp_path):
    root = task_trees.rsna_tree(tmp_path)
    (root / "pneumonia-challenge-dataset-mappings_2018.json").write_text('[{"a": 1}]')
    with pytest.raises(UserError, match="another file"):
        RSNAPneumonia(root=root).items()


def test_masks_of_one_image_stay_in_one_split(tmp_path):
    items, _ = SIIMPneumothorax(root=task_trees.siim_tree(tmp_path), balanced=False).items()
    twice = [item for item in items if len(item.drafts[0].boxes) == 2]
    assert len(twice) == 5
    assert len({item.study for item in items}) == len(items)


def plain_decode(runs, width, height):
    """Pixel by pixel, as the challenge describes it."""
    numbers = [int(word) for word in runs.split()]
    pixels, at = [0] * (width * height), 0
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        at += gap
        for i in range(at, at + length):
            pixels[i] = 1
        at += length
    return [[pixels[x * height + y] for x in range(width)] for y in range(height)]


@pytest.mark.parametrize("runs", ["0 1", "1 2 1 1", "3 2 5 1", "0 35", "34 1", "2 3 0 4 1 1"])
def test_masks_equal_a_plain_decoding(runs):
    mask = decode(runs, width=5, height=7)
    assert mask.astype(int).tolist() == plain_decode(runs, 5, 7)
    rows, columns = np.nonzero(mask)
    assert bounds(mask) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@pytest.mark.parametrize(
    "runs", ["", "-1", "1", "1 2 3", "30 6", "1 0", "1 x", "1 -2", "9" * 30 + " 1", "1.0 2", "１ ２"]
)
def test_what_is_no_mask(runs):
    assert decode(runs, width=5, height=7) is None


def test_odd_rows_of_siim(tmp_path):
    rows = [["a", " -1"], ["a", "-1"], ["b", "0 1"], ["b", "-1"], ["c", "7 x"], ["d", ""], ["", "-1"], ["e", "0 1"]]
    boxes, dropped = read_masks(trees.write_csv(tmp_path / "t.csv", task_trees.SIIM, rows))
    assert boxes == {"a": [], "e": [(0.0, 0.0, 1.0, 1.0)]}
    assert dropped == {"duplicate_row": 1, "malformed_row": 3, "contradictory_label": 1}


def test_cells_that_are_no_box():
    assert read_corner_and_size(["1", "2", "3", "4"]) == (1.0, 2.0, 4.0, 6.0)
    for cells in (["1", "2", "0", "4"], ["inf", "2", "3", "4"], ["1", "2", "1e400", "4"], ["", "", "", ""]):
        assert read_corner_and_size(cells) is None


def test_linked_folders_are_followed_and_linked_files_only_inside(tmp_path):
    root = task_trees.siim_tree(tmp_path / "siim")
    images = root / "dicom-images-train"
    images.rename(tmp_path / "elsewhere")
    images.mkdir()
    (images / "linked").symlink_to(tmp_path / "elsewhere")
    (images / "round").symlink_to(images)
    taken = SIIMPneumothorax(root=root, balanced=False)
    items, dropped = taken.items()
    assert (len(items), dropped) == (40, {})
    secret = trees.write_image(tmp_path / "secret.png")
    image = next(path for path in (tmp_path / "elsewhere").rglob("1.2.0.png"))
    image.unlink()
    image.symlink_to(secret)
    worker = QuestionsWorker(taken, items, tmp_path / "into", part_size=100)
    assert worker.part(0).dropped == {"image_outside_the_folder": 1}
