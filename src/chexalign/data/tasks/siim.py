"""SIIM-ACR Pneumothorax Segmentation: whether a chest X-ray shows a pneumothorax, with boxes around the masks.

    ROOT/train-rle.csv  or  ROOT/stage_2_train.csv                   (packed or not)
    ROOT/dicom-images-train/STUDY/SERIES/IMAGEID.dcm                 (or under `images`, also as PNG or JPEG)

An image has a row for each of its masks, so splits are by image and never by row. Source: SIIM-ACR challenge, 2019.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import ClassVar

from chexalign.data.layout import find_file, need_root, read_columns
from chexalign.data.questions import Picture, PixelBox, QuestionItem, share_of
from chexalign.data.tasks.boxes import Bounds
from chexalign.data.tasks.files import image_files, under
from chexalign.data.tasks.rle import bounds, decode
from chexalign.data.tasks.wordings import presence
from chexalign.data.tasks.yes_no import as_many_yes_as_no

SOURCE = "siim"
LICENSE = "terms of the SIIM-ACR Pneumothorax Segmentation challenge"
FINDING = "pneumothorax"
SIDE = 1024  # pixels, of every image and mask

_HEALTHY = "-1"
_TABLES = ("train-rle.csv", "stage_2_train.csv")
_LABELS = tuple(name + packed for name in _TABLES for packed in ("", ".gz", ".zip"))


class SIIMPneumothorax:
    """Does this X-ray show a pneumothorax? From the labeled images of the SIIM-ACR challenge."""

    name = SOURCE
    license = LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": LICENSE,
        "needs": f"{_LABELS[0]} and dicom-images-train/*/*/*.dcm, from Kaggle",
    }

    def __init__(self, *, root: Path | None = None, images: Path | None = None, balanced: bool = True) -> None:
        self.root, self.images, self.balanced = root, images, balanced

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """One question per image; with `balanced`, as many yes as no in each split.

        Cost: a millisecond per mask.
        """
        root = need_root(self.root, SOURCE, " or ".join(_TABLES))
        boxes, dropped = read_masks(find_file([root], _LABELS, SOURCE))
        files = image_files(
            under(root, ("dicom-images-train",), self.images), SOURCE, "dicom-images-train/*/*/*.dcm, the images"
        )
        dropped["image_missing"] += sum(i not in files for i in boxes)
        items = [_item(i, files[i], found) for i, found in boxes.items() if i in files]
        if self.balanced:
            items = as_many_yes_as_no(items, dropped)
        return items, dict(+dropped)


def read_masks(path: Path) -> tuple[dict[str, list[Bounds]], Counter[str]]:
    """The box around each mask of each image, none where it is healthy, and why rows were left out.

    An image that some rows call healthy and others do not has no label.
    """
    rows: defaultdict[str, dict[str, Bounds | None]] = defaultdict(dict)
    dropped = Counter[str]()
    for name, cell in read_columns(path, ("ImageId", "EncodedPixels"), SOURCE):
        image, runs = name.strip(), cell.strip()
        if runs in rows.get(image, {}):
            dropped["duplicate_row"] += 1
            continue
        mask = None if runs == _HEALTHY else decode(runs, width=SIDE, height=SIDE)
        if not image or (mask is None and runs != _HEALTHY):
            dropped["malformed_row"] += 1
        else:
            rows[image][runs] = None if mask is None else bounds(mask)
    contradictory = [image for image, found in rows.items() if _HEALTHY in found and len(found) > 1]
    dropped["contradictory_label"] = len(contradictory)
    for image in contradictory:
        del rows[image]
    return {image: [box for box in found.values() if box is not None] for image, found in rows.items()}, dropped


def _item(image: str, picture: Picture, boxes: list[Bounds]) -> QuestionItem:
    draft = presence(
        image,
        FINDING,
        present=bool(boxes),
        evidence=[],
        boxes=[PixelBox(FINDING, box, (SIDE, SIDE)) for box in boxes],
    )
    return QuestionItem(image, image, share_of(image), (picture,), (draft,))
