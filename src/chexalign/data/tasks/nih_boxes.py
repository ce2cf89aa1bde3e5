"""NIH ChestX-ray14: the images on which a radiologist boxed one of eight findings.

    ROOT/BBox_List_2017.csv                                          (packed or not)
    ROOT/Data_Entry_2017.csv  or  ROOT/Data_Entry_2017_v2020.csv     (may be missing)
    ROOT/images/00013118_008.png, ROOT/images_001/images/... or anywhere else in ROOT     (or under `images`)

The boxes are a radiologist's. The table of data entries was read out of reports by rules; it says here of a boxed image
only which other findings it may show, so that those are never asked about as wrong. Without it nothing is known to be
absent, and only regions are asked about. Source: Wang et al. 2017.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import ClassVar

from chexalign.data.layout import find_file, need_root, read_columns
from chexalign.data.marked_pictures import Marking, mark_regions
from chexalign.data.questions import Picture, PixelBox, QuestionItem, share_of
from chexalign.data.tasks.boxes import Bounds, read_corner_and_size
from chexalign.data.tasks.files import image_files, under
from chexalign.data.tasks.findings import clearly_absent, finding_name
from chexalign.data.tasks.located import Known, ask

SOURCE = "nih-boxes"
LICENSE = "NIH Clinical Center: no restrictions, with attribution"
FRAME = (1024, 1024)  # every image of the collection

_BOXES = ("BBox_List_2017.csv", "BBox_List_2017.csv.gz")
_ENTRIES = tuple(f"Data_Entry_2017{version}.csv{packed}" for version in ("", "_v2020") for packed in ("", ".gz"))
_BOX_COLUMNS = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")  # as the commas cut "Bbox [x,y,w,h]"
_PATIENT_DIGITS = 8
_NOTHING = "no finding"

FINDINGS = tuple(
    finding_name(word)
    for word in (
        *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltrate"),
        *("Mass", "Nodule", "Pneumonia", "Pneumothorax"),
    )
)


class NIHBoxes:
    """Is a finding there, and what is in this box? From the 984 boxes of NIH ChestX-ray14."""

    name = SOURCE
    license = LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": LICENSE,
        "needs": f"{_BOXES[0]}, Data_Entry_2017.csv and the PNG images, from the NIH Clinical Center",
    }

    def __init__(self, *, root: Path | None = None, images: Path | None = None, mark: Marking = "words") -> None:
        """`mark` shows where the box of a question about a region is, instead of telling it in words."""
        self.root, self.images, self.mark = root, images, mark

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """Questions about the boxed images, splits by patient."""
        root = need_root(self.root, SOURCE, _BOXES[0])
        boxes, dropped = read_boxes(find_file([root], _BOXES, SOURCE))
        labels = _read_labels(root)
        files = image_files(under(root, ("images", "."), self.images), SOURCE, "images/*.png")
        stems = {name: name.rpartition(".")[0] for name in boxes}
        dropped["image_missing"] += sum(stem not in files for stem in stems.values())
        known = [
            _known(name, files[stems[name]], found, labels.get(name))
            for name, found in boxes.items()
            if stems[name] in files
        ]
        items, left_out = ask(known, FINDINGS)
        return mark_regions(items, self.mark), dict(+(dropped + left_out))


def read_boxes(path: Path) -> tuple[dict[str, list[tuple[str, Bounds]]], Counter[str]]:
    """The findings and boxes of each image in the order of the table, and why rows were left out."""
    boxes: defaultdict[str, list[tuple[str, Bounds]]] = defaultdict(list)
    dropped = Counter[str]()
    for name, label, *cells in read_columns(path, _BOX_COLUMNS, SOURCE):
        bounds = read_corner_and_size(cells, frame=FRAME)
        box = (finding_name(label), bounds)
        if bounds is None or box[0] not in FINDINGS or not name[:_PATIENT_DIGITS].isdigit():
            dropped["malformed_row"] += 1
        elif box in boxes[name]:
            dropped["duplicate_row"] += 1
        else:
            boxes[name].append((box[0], bounds))
    return dict(boxes), dropped


def _read_labels(root: Path) -> dict[str, tuple[frozenset[str], str]]:
    """The labels and the view of each image of the collection."""
    path = next((root / name for name in _ENTRIES if (root / name).is_file()), None)
    if path is None:
        return {}
    rows = read_columns(path, ("Image Index", "Finding Labels", "View Position"), SOURCE)
    return {name: (frozenset(map(finding_name, labels.split("|"))) - {_NOTHING}, view) for name, labels, view in rows}


def _known(
    name: str, picture: Picture, boxes: list[tuple[str, Bounds]], entry: tuple[frozenset[str], str] | None
) -> Known:
    patient = name[:_PATIENT_DIGITS]
    seen = {finding for finding, _ in boxes}
    return Known(
        name=name,
        study=name,
        patient=patient,
        split=share_of(patient),
        picture=picture,
        boxes=tuple(PixelBox(finding, bounds, FRAME) for finding, bounds in boxes),
        present=frozenset(seen),
        absent=clearly_absent(FINDINGS, seen | entry[0]) if entry is not None else None,
    )
