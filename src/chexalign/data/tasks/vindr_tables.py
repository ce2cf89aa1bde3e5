"""The tables of VinDr-CXR, of PhysioNet and of Kaggle: what each radiologist saw on an image, put to the vote."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chexalign.data.layout import read_columns
from chexalign.data.questions import PixelBox
from chexalign.data.tasks.boxes import Bounds, ReadBox, merge, overlap, read_bounds
from chexalign.data.tasks.findings import finding_name

SOURCE = "vindr"
NOTHING = finding_name("No finding")

_OTHER = frozenset(map(finding_name, ("Other lesion", "Other disease", "Other diseases")))  # they name nothing
_CONSENSUS = "consensus"
_BOX = ("x_min", "y_min", "x_max", "y_max")
GLOBAL = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis")  # labels of whole images, without boxes


@dataclass(slots=True)
class Reading:
    """What the readers of one image marked."""

    readers: set[str] = field(default_factory=set)
    boxes: defaultdict[str, list[ReadBox]] = field(default_factory=lambda: defaultdict(list))
    voters: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def needed(self) -> int:
        """How many votes make a finding: more than half of the readers."""
        return len(self.readers) // 2 + 1

    def agreed(self) -> tuple[PixelBox, ...]:
        """The boxes that enough readers drew in one place, in the order of findings."""
        return tuple(
            PixelBox(finding, merged.bounds)
            for finding in sorted(self.boxes)
            for merged in merge(self.boxes[finding])
            if merged.votes >= self.needed()
        )

    def rivals(self, box: PixelBox) -> frozenset[str]:
        """What any reader saw in a box too, or did not say where."""
        return frozenset(
            finding
            for finding in self.voters
            if not self.boxes[finding] or any(overlap(box.bounds, other.bounds) > 0 for other in self.boxes[finding])
        )

    def present(self) -> frozenset[str]:
        """The findings that enough readers saw, wherever they saw them."""
        return frozenset(f for f, voters in self.voters.items() if len(voters) >= self.needed())

    def seen(self) -> frozenset[str]:
        """The findings that any reader saw."""
        return frozenset(self.voters)


def read_annotations(path: Path, *, votes: bool) -> tuple[dict[str, Reading], Counter[str]]:
    """What each reader marked on each image, in the order of the table, and why rows were left out.

    Without `votes` the table holds what all readers agreed on, and names none.
    """
    readings: defaultdict[str, Reading] = defaultdict(Reading)
    dropped = Counter[str]()
    columns = ("image_id", "class_name", *_BOX, *(("rad_id",) if votes else ()))
    for image, label, *rest in read_columns(path, columns, SOURCE):
        cells, reader = rest[:4], (rest[4].strip() if votes else _CONSENSUS)
        finding = finding_name(label)
        empty = all(cell.strip().lower() in ("", "nan") for cell in cells)
        bounds = read_bounds(cells)
        if not (image.strip() and finding and reader) or (not empty if finding == NOTHING else bounds is None):
            dropped["malformed_row"] += 1
            continue
        if not _add(readings[image.strip()], reader, finding, bounds):
            dropped["duplicate_row"] += 1
    return dict(readings), dropped


def add_image_labels(path: Path, readings: Mapping[str, Reading], *, votes: bool) -> int:
    """Adds the labels of whole images to what was marked on them; how many rows were malformed.

    Of images without marks nothing is added.
    """
    malformed = 0
    columns = ("image_id", *GLOBAL, *(("rad_id",) if votes else ()))
    for image, *cells in read_columns(path, columns, SOURCE):
        reader = cells[-1].strip() if votes else _CONSENSUS
        values = [_BINARY.get(cell.strip()) for cell in cells[: len(GLOBAL)]]
        reading = readings.get(image.strip())
        if not reader or None in values:
            malformed += 1
        elif reading is not None:
            reading.readers.add(reader)
            for label, value in zip(GLOBAL, values, strict=True):
                if value:
                    reading.voters[finding_name(label)].add(reader)
    return malformed


_BINARY = {"0": False, "0.0": False, "1": True, "1.0": True}


def _add(reading: Reading, reader: str, finding: str, bounds: Bounds | None) -> bool:
    """Adds a mark; False where the reader has made the same one before."""
    reading.readers.add(reader)
    if finding == NOTHING or finding in _OTHER or bounds is None:
        return True
    box = ReadBox(bounds, reader)
    reading.voters[finding].add(reader)
    if box in reading.boxes[finding]:
        return False
    reading.boxes[finding].append(box)
    return True


def findings_of(readings: Sequence[Reading]) -> list[str]:
    """Every finding that some reader marked on some image, sorted."""
    return sorted({finding for reading in readings for finding in reading.voters})
