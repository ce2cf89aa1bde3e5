"""View classification on MIMIC-CXR-JPG.

    ROOT/mimic-cxr-2.0.0-metadata.csv.gz, ROOT/mimic-cxr-2.0.0-split.csv.gz     (packed or not)
    ROOT/files/p10/p10000032/s50414267/DICOMID.jpg                              (or under `images`)

Source: Johnson et al. 2019, PhysioNet; credentialed data.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar

from chexalign.data.images import view_of
from chexalign.data.layout import find_file, need_root, read_columns
from chexalign.data.mimic_images import LICENSE, files_folder, is_dicom_id, jpeg
from chexalign.data.mimic_tables import METADATA_NAMES, SPLIT_NAMES, read_splits
from chexalign.data.questions import Picture, QuestionItem
from chexalign.data.tasks.held_out import SPLITS, patients_apart
from chexalign.data.tasks.views import Viewed, ask, view_word

SOURCE = "mimic-views"


class MimicViews:
    """Is this X-ray AP, PA or lateral? From the view positions of MIMIC-CXR-JPG."""

    name = SOURCE
    license = LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": LICENSE,
        "needs": f"{METADATA_NAMES[0]}, {SPLIT_NAMES[0]} and the images of MIMIC-CXR-JPG",
        "cost": "a look for each file; all questions are kept in memory",
    }

    def __init__(self, *, root: Path | None = None, images: Path | None = None) -> None:
        self.root, self.images = root, images

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """A question per image whose view is one of the three, in the official splits.

        Images without a view position, or with another such as AP AXIAL, are left out.
        """
        root = need_root(self.root, SOURCE, METADATA_NAMES[0])
        metadata = find_file([root], METADATA_NAMES, SOURCE)
        official = read_splits(find_file([root], SPLIT_NAMES, SOURCE))
        folder = files_folder(self.images or root, SOURCE)
        top = str(folder)
        images: dict[str, Viewed] = {}
        dropped = Counter[str]()
        columns = ("dicom_id", "subject_id", "study_id", "ViewPosition")
        for dicom, patient, study, position in read_columns(metadata, columns, SOURCE):
            word, split = view_word(position), SPLITS.get(official.get(study, ""))
            if not (_is_id(patient) and _is_id(study) and is_dicom_id(dicom)):
                dropped["malformed_row"] += 1
            elif dicom in images:
                dropped["duplicate_row"] += 1
            elif word is None:
                dropped["other_view" if position.strip() else "no_view"] += 1
            elif split is None:
                dropped["no_official_split"] += 1
            elif not Path(path := jpeg(folder, patient, study, dicom)).is_file():
                dropped["image_missing"] += 1
            else:
                picture = Picture(path, view_of(position), top=top)
                images[dicom] = Viewed(dicom, f"s{study}", patient, split, picture, word)
        items, left_out = ask(list(images.values()))
        items, apart = patients_apart(items)
        return items, dict(+(dropped + left_out + apart))


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit()
