"""Disease identification on MIMIC-CXR-JPG.

    ROOT/mimic-cxr-2.0.0-chexpert.csv.gz, ROOT/mimic-cxr-2.0.0-metadata.csv.gz, ROOT/mimic-cxr-2.0.0-split.csv.gz
    ROOT/mimic-cxr-2.1.0-test-set-labeled.csv                        (may be missing)
    ROOT/files/p10/p10000032/s50414267/DICOMID.jpg                   (or under `images`)

The first table is CheXpert's labeler, run over the reports. The last one holds the labels that radiologists gave to
reports of the test set; a study that it has takes its labels from there.
Source: Johnson et al. 2019, Irvin et al. 2019; PhysioNet, credentialed data.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar

from chexalign.data.layout import find_file, need_root, read_columns
from chexalign.data.mimic_images import LICENSE, files_folder, jpeg
from chexalign.data.mimic_tables import METADATA_NAMES, SPLIT_NAMES, Exam, read_exams, read_splits
from chexalign.data.questions import Picture, QuestionItem
from chexalign.data.tasks.diseases import LABELS, Labeled, ask, read_labels
from chexalign.data.tasks.held_out import SPLITS, patients_apart

SOURCE = "mimic-diseases"

_LABELER = ("mimic-cxr-2.0.0-chexpert.csv.gz", "mimic-cxr-2.0.0-chexpert.csv")
_BY_HAND = "mimic-cxr-2.1.0-test-set-labeled.csv"
_OTHER_WORDS = {"Lung Opacity": "Airspace Opacity"}  # what the table by hand calls it


class MimicDiseases:
    """Which findings does this X-ray show? From the labels of MIMIC-CXR, radiologists' where there are some."""

    name = SOURCE
    license = LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": LICENSE,
        "needs": f"{_LABELER[0]}, {METADATA_NAMES[0]}, {SPLIT_NAMES[0]} and the images of MIMIC-CXR-JPG",
        "cost": "all questions are kept in memory",
    }

    def __init__(self, *, root: Path | None = None, images: Path | None = None) -> None:
        self.root, self.images = root, images

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """Questions about the frontal image of each study, in the official splits."""
        root = need_root(self.root, SOURCE, _LABELER[0])
        labels, dropped = read_study_labels(find_file([root], _LABELER, SOURCE))
        if (root / _BY_HAND).is_file():
            by_hand, malformed = read_study_labels(root / _BY_HAND, by_hand=True)
            labels |= by_hand
            dropped += malformed
        exams, malformed_rows = read_exams(find_file([root], METADATA_NAMES, SOURCE))
        dropped["malformed_row"] += malformed_rows
        official = read_splits(find_file([root], SPLIT_NAMES, SOURCE))
        folder = files_folder(self.images or root, SOURCE)
        studies = []
        for exam in exams:
            found, split = labels.pop(exam.study, None), SPLITS.get(official.get(exam.study, ""))
            if found is None:
                dropped["no_labels"] += 1
            elif split is None:
                dropped["no_official_split"] += 1
            elif exam.frontal is None:
                dropped["no_image_of_the_views"] += 1
            elif not Path(path := jpeg(folder, exam.patient, exam.study, exam.frontal)).is_file():
                dropped["image_missing"] += 1
            else:
                studies.append(_labeled(exam, split, Picture(path, "frontal", top=str(folder)), found))
        dropped["no_metadata"] += len(labels)
        items, left_out = ask(studies)
        items, apart = patients_apart(items)
        return items, dict(+(dropped + left_out + apart))


def read_study_labels(
    path: Path, *, by_hand: bool = False
) -> tuple[dict[str, tuple[frozenset[str], frozenset[str]]], Counter[str]]:
    """Present and unsure findings of each study, and why rows were left out."""
    labels: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
    dropped = Counter[str]()
    columns = [_OTHER_WORDS.get(label, label) if by_hand else label for label in LABELS]
    for study, *cells in read_columns(path, ("study_id", *columns), SOURCE):
        found = read_labels(cells)
        if found is None or not (study.isascii() and study.isdigit()):
            dropped["malformed_row"] += 1
        elif study in labels:
            dropped["duplicate_row"] += 1
        else:
            labels[study] = found
    return labels, dropped


def _labeled(exam: Exam, split: str, picture: Picture, found: tuple[frozenset[str], frozenset[str]]) -> Labeled:
    return Labeled(f"s{exam.study}", exam.patient, split, picture, *found)
