"""Disease identification on CheXpert.

    ROOT/train.csv, ROOT/valid.csv, ROOT/test_labels.csv     (each may be missing, but not all; packed or not)
    ROOT/train/patient00001/study1/view1_frontal.jpg         (or under `images`; PNG, DICOM)

The labels of train were read out of reports by CheXpert's labeler; those of valid and test are radiologists'. A study
is asked about once, by the first of its frontal images. Source: Irvin et al. 2019.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar

from chexalign.data.layout import need_root, not_there, read_columns
from chexalign.data.questions import Picture, QuestionItem
from chexalign.data.tasks.chexpert_images import LICENSE, Named, image_file, image_folders, read_path
from chexalign.data.tasks.diseases import LABELS, Labeled, ask, read_labels

SOURCE = "chexpert-diseases"

_TABLES = ("train.csv", "valid.csv", "test_labels.csv", "test.csv")


class CheXpertDiseases:
    """Which findings does this X-ray show? From the label tables of CheXpert."""

    name = SOURCE
    license = LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": LICENSE,
        "needs": f"{', '.join(_TABLES[:3])} and the images of CheXpert",
        "cost": "all questions are kept in memory",
    }

    def __init__(self, *, root: Path | None = None, images: Path | None = None) -> None:
        self.root, self.images = root, images

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """Questions about the frontal image of each study. Cost: a look for each file."""
        root = need_root(self.root, SOURCE, " or ".join(_TABLES[:3]))
        places = [root / f"{name}{packed}" for name in _TABLES for packed in ("", ".gz")]
        tables = [path for path in places if path.is_file()]
        if not tables:
            raise not_there(root, " nor ".join(_TABLES[:3]), SOURCE)
        folders = image_folders(self.images or root, SOURCE)
        studies: dict[str, Labeled] = {}
        dropped = Counter[str]()
        for table in tables:
            for path, *cells in read_columns(table, ("Path", *LABELS), SOURCE):
                named, found = read_path(path), read_labels(cells)
                if named is None or found is None:
                    dropped["malformed_row"] += 1
                elif named.view == "lateral":
                    dropped["other_view"] += 1
                elif named.study in studies:
                    dropped["another_image_of_the_study"] += 1
                elif (file := image_file(folders, named)) is None:
                    dropped["image_missing"] += 1
                else:
                    studies[named.study] = _labeled(named, file, found)
        items, left_out = ask(list(studies.values()))
        return items, dict(+(dropped + left_out))


def _labeled(named: Named, file: Picture, found: tuple[frozenset[str], frozenset[str]]) -> Labeled:
    return Labeled(named.study, named.patient, named.split, file, *found)
