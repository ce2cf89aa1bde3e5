"""VinDr-CXR: findings that radiologists boxed, three readers to an image of the training set.

As PhysioNet has it:
    ROOT/annotations/annotations_train.csv, annotations_test.csv     (or in ROOT)
    ROOT/annotations/image_labels_train.csv, image_labels_test.csv   (may be missing)
    ROOT/train/IMAGEID.dicom, ROOT/test/IMAGEID.dicom
As Kaggle has it (VinBigData Chest X-ray Abnormalities Detection), without labels of its test set:
    ROOT/train.csv
    ROOT/train/IMAGEID.dicom

Boxes of one finding that overlap become one, with a vote for each reader; a finding is there when more than half of the
readers saw it, and absent when none did. The test set of PhysioNet holds the consensus of five.
Boxes count pixels of the DICOM files: converted images must keep their size. Source: Nguyen et al. 2022.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar

from chexalign.data.layout import need_root, not_there
from chexalign.data.marked_pictures import Marking, mark_regions
from chexalign.data.questions import SHARES, TEST, TRAIN, VALIDATION, Picture, QuestionItem, share_of
from chexalign.data.tasks.files import image_files, under
from chexalign.data.tasks.findings import clearly_absent
from chexalign.data.tasks.located import Known, ask
from chexalign.data.tasks.vindr_tables import SOURCE, Reading, add_image_labels, findings_of, read_annotations

LICENSE = "PhysioNet Credentialed Health Data License 1.5.0"
_WITH_A_TEST = {VALIDATION: 0.15, TRAIN: 0.85}  # of the training images, where there is a test set beside them

_TRAIN, _TEST, _KAGGLE = "annotations_train.csv", "annotations_test.csv", "train.csv"
_PACKED = ("", ".gz", ".zip")


class VinDrCXR:
    """Is a finding there, and what is in this box? From the boxes of VinDr-CXR, of PhysioNet or of Kaggle."""

    name = SOURCE
    license = LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": f"{LICENSE}, or the terms of the VinBigData challenge",
        "needs": f"{_TRAIN} and {_TEST} (PhysioNet) or {_KAGGLE} (Kaggle), and the DICOM images",
    }

    def __init__(self, *, root: Path | None = None, images: Path | None = None, mark: Marking = "words") -> None:
        """`mark` shows where the box of a question about a region is, instead of telling it in words."""
        self.root, self.images, self.mark = root, images, mark

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """Questions about images of both sets; the collection names no patients, so each image counts as one."""
        root = need_root(self.root, SOURCE, f"{_TRAIN} or {_KAGGLE}")
        folders = [root / "annotations", root]
        train, test, kaggle = (_find(folders, name) for name in (_TRAIN, _TEST, _KAGGLE))
        tables = [(table, table is not test) for table in (train, test) if table is not None]
        if not tables and kaggle is not None:
            tables = [(kaggle, True)]
        if not tables:
            raise not_there(root, f"annotations/{_TRAIN}, nor {_KAGGLE}", SOURCE)
        known: list[Known] = []
        dropped = Counter[str]()
        for table, votes in tables:
            shares = {TEST: 1.0} if not votes else _WITH_A_TEST if test is not None else SHARES
            found, why = self._read(root, table, votes=votes, shares=shares)
            known += found
            dropped += why
        findings = sorted({finding for image in known for finding in image.present})
        items, left_out = ask(known, findings)
        return mark_regions(items, self.mark), dict(+(dropped + left_out))

    def _read(
        self, root: Path, table: Path, *, votes: bool, shares: dict[str, float]
    ) -> tuple[list[Known], Counter[str]]:
        """What is known of the images of one table."""
        readings, dropped = read_annotations(table, votes=votes)
        labels = table.with_name(table.name.replace("annotations_", "image_labels_"))
        if labels != table and labels.is_file():
            dropped["malformed_row"] += add_image_labels(labels, readings, votes=votes)
        folder = "train" if votes else "test"
        files = image_files(under(root, (folder,), self.images), SOURCE, f"{folder}/*.dicom, the images")
        dropped["image_missing"] += sum(image not in files for image in readings)
        findings = findings_of(list(readings.values()))
        return [
            _known(image, files[image], reading, findings, share_of(image, shares))
            for image, reading in readings.items()
            if image in files
        ], dropped


def _find(folders: list[Path], name: str) -> Path | None:
    places = [folder / f"{name}{packed}" for folder in folders for packed in _PACKED]
    return next((place for place in places if place.is_file()), None)


def _known(image: str, picture: Picture, reading: Reading, findings: list[str], split: str) -> Known:
    boxes = reading.agreed()
    return Known(
        name=image,
        study=image,
        patient=image,
        split=split,
        picture=picture,
        boxes=boxes,
        present=reading.present(),
        absent=clearly_absent(findings, reading.seen()),
        rivals=tuple(map(reading.rivals, boxes)),
    )
