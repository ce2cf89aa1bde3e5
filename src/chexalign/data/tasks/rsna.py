"""RSNA Pneumonia Detection Challenge: whether a chest X-ray shows pneumonia, with the radiologists' boxes.

    ROOT/stage_2_train_labels.csv                                    (packed or not)
    ROOT/stage_2_detailed_class_info.csv                             (may be missing)
    ROOT/stage_2_train_images/PATIENTID.dcm                          (or under `images`, also as PNG or JPEG)
    ROOT/pneumonia-challenge-dataset-mappings_2018.json              (may be missing)

The images were taken from NIH ChestX-ray14, several of one patient among them; the table calls each image a patient.
RSNA's own table of mappings says which are one person. Without it, splits are by image, as in other work.
Source: Shih et al. 2019.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import ClassVar

from chexalign.data.layout import find_file, need_root, read_columns
from chexalign.data.loose import read_json
from chexalign.data.questions import Picture, PixelBox, QuestionItem, share_of
from chexalign.data.tasks.boxes import Bounds, read_corner_and_size
from chexalign.data.tasks.files import image_files, under
from chexalign.data.tasks.wordings import presence
from chexalign.data.tasks.yes_no import as_many_yes_as_no
from chexalign.errors import UserError
from chexalign.types import Evidence

SOURCE = "rsna"
LICENSE = "terms of the RSNA Pneumonia Detection Challenge"
FINDING = "pneumonia"
FRAME = (1024, 1024)  # every image of the challenge

_LABELS = ("stage_2_train_labels.csv", "stage_2_train_labels.csv.zip", "stage_2_train_labels.csv.gz")
_CLASSES = ("stage_2_detailed_class_info.csv", "stage_2_detailed_class_info.csv.zip")
_PATIENTS = "pneumonia-challenge-dataset-mappings_2018.json"
_NIH_DIGITS = 8  # of a name such as 00014197_010.png; they are the patient


class RSNAPneumonia:
    """Does this X-ray show pneumonia? From the 26,684 labeled images of the RSNA challenge."""

    name = SOURCE
    license = LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": LICENSE,
        "needs": f"{_LABELS[0]} and stage_2_train_images/*.dcm, from Kaggle",
    }

    def __init__(self, *, root: Path | None = None, images: Path | None = None, balanced: bool = True) -> None:
        self.root, self.images, self.balanced = root, images, balanced

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """One question per image; with `balanced`, as many yes as no in each split."""
        root = need_root(self.root, SOURCE, _LABELS[0])
        boxes, dropped = read_labels(find_file([root], _LABELS, SOURCE))
        classes = _read_classes(root)
        patients = _read_patients(root / _PATIENTS)
        files = image_files(
            under(root, ("stage_2_train_images",), self.images), SOURCE, "stage_2_train_images/*.dcm, the images"
        )
        dropped["image_missing"] += sum(i not in files for i in boxes)
        items = [
            _item(i, patients.get(i, i), files[i], found, classes.get(i)) for i, found in boxes.items() if i in files
        ]
        if self.balanced:
            items = as_many_yes_as_no(items, dropped)
        return items, dict(+dropped)


def read_labels(path: Path) -> tuple[dict[str, list[Bounds]], Counter[str]]:
    """The boxes of each image in the order of the table, none where it is healthy, and why rows were left out.

    An image that some rows call healthy and others do not has no label.
    """
    rows: defaultdict[str, dict[Bounds | None, None]] = defaultdict(dict)
    dropped = Counter[str]()
    for name, *box, target in read_columns(path, ("patientId", "x", "y", "width", "height", "Target"), SOURCE):
        empty = not any(cell.strip() for cell in box)
        bounds = None if empty else read_corner_and_size(box, frame=FRAME)
        has_box = {"0": False, "0.0": False, "1": True, "1.0": True}.get(target.strip())
        if not name.strip() or has_box is None or has_box != (bounds is not None) or empty == has_box:
            dropped["malformed_row"] += 1
        elif bounds in rows[name.strip()]:
            dropped["duplicate_row"] += 1
        else:
            rows[name.strip()][bounds] = None
    contradictory = [name for name, found in rows.items() if None in found and len(found) > 1]
    dropped["contradictory_label"] = len(contradictory)
    for name in contradictory:
        del rows[name]
    return {name: [b for b in found if b is not None] for name, found in rows.items()}, dropped


def _read_classes(root: Path) -> dict[str, str]:
    """The class of each image: Normal, Lung Opacity, or No Lung Opacity / Not Normal."""
    path = next((root / name for name in _CLASSES if (root / name).is_file()), None)
    return {} if path is None else {name: word for name, word in read_columns(path, ("patientId", "class"), SOURCE)}  # noqa: C416 (typed so)


def _read_patients(path: Path) -> dict[str, str]:
    """The person of each image, by the name that it has in NIH ChestX-ray14."""
    if not path.is_file():
        return {}
    rows = read_json(path, SOURCE)
    try:
        return {row["subset_img_id"]: row["img_id"][:_NIH_DIGITS] for row in rows}
    except (KeyError, TypeError) as e:
        raise UserError(
            f"{path} is another file than RSNA's table of mappings ({type(e).__name__}).",
            "Each of its records must have subset_img_id and img_id.",
            "Download it again, or take it away: splits are then by image.",
        ) from e


def _item(study: str, patient: str, picture: Picture, boxes: list[Bounds], label: str | None) -> QuestionItem:
    draft = presence(
        study,
        FINDING,
        present=bool(boxes),
        evidence=[Evidence("label", label.strip())] if label and label.strip() else [],
        boxes=[PixelBox(FINDING, box, FRAME) for box in boxes],
    )
    return QuestionItem(study, patient, share_of(patient), (picture,), (draft,))
