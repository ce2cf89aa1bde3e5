"""The table of MS-CXR: phrases about images, with the boxes of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chexalign.data.layout import read_columns
from chexalign.data.questions import PixelBox
from chexalign.data.tasks.boxes import read_corner_and_size
from chexalign.data.tasks.findings import finding_name
from chexalign.data.tasks.held_out import SPLITS

SOURCE = "ms-cxr"
TABLES = ("MS_CXR_Local_Alignment_v1.1.0.csv", "MS_CXR_Local_Alignment_v1.0.0.csv")

FINDINGS = tuple(
    finding_name(word)
    for word in (
        *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema"),
        *("Lung Opacity", "Pleural Effusion", "Pneumonia", "Pneumothorax"),
    )
)

_COLUMNS = (
    *("category_name", "label_text", "path", "dicom_id"),
    *("x", "y", "w", "h", "image_width", "image_height"),
)
# What becomes a path is let in only as the names of MIMIC-CXR are made.
_PATH = re.compile(r"(?:^|/)p\d\d/p(\d{8})/s(\d{8})/([\w-]+)\.\w+$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase about one image, and the boxes of what it says."""

    dicom: str
    patient: str
    study: str
    finding: str
    text: str
    boxes: tuple[PixelBox, ...]
    split: str | None


def read_phrases(path: Path) -> tuple[list[Phrase], Counter[str]]:
    """The phrases in the order of the table, each once per image, and why rows were left out."""
    has_split = "v1.0.0" not in path.name
    boxes: dict[tuple[str, str, str], dict[PixelBox, None]] = {}
    about: dict[tuple[str, str, str], tuple[str, str, str | None]] = {}
    dropped = Counter[str]()
    for category, text, where, dicom, *cells in read_columns(path, (*_COLUMNS, *("split",) * has_split), SOURCE):
        found, finding, sentence = _PATH.search(where.strip()), finding_name(category), " ".join(text.split())
        split = SPLITS.get(cells[6].strip()) if has_split else None
        box = _box(finding, cells[:6])
        if found is None or found[3] != dicom.strip() or box is None or not sentence or finding not in FINDINGS:
            dropped["malformed_row"] += 1
        elif has_split and split is None:
            dropped["unknown_split"] += 1
        elif about.setdefault((found[3], finding, sentence), (found[1], found[2], split)) != (
            found[1],
            found[2],
            split,
        ):
            dropped["contradictory_row"] += 1
        elif box in boxes.setdefault((found[3], finding, sentence), {}):
            dropped["duplicate_row"] += 1
        else:
            boxes[found[3], finding, sentence][box] = None
    return [
        Phrase(key[0], patient, study, key[1], key[2], tuple(boxes[key]), split)
        for key, (patient, study, split) in about.items()
        if key in boxes
    ], dropped


def _box(finding: str, cells: Sequence[str]) -> PixelBox | None:
    try:
        frame = (int(float(cells[4])), int(float(cells[5])))
    except (ValueError, OverflowError):
        return None
    bounds = read_corner_and_size(cells[:4], frame=frame) if min(frame) > 0 else None
    return None if bounds is None else PixelBox(finding, bounds, frame)
