"""The table of CheXpert Plus: rows are images; here they become studies with their text and the names of images."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from chexalign.data.images import view_of
from chexalign.data.layout import read_columns
from chexalign.types import View

TABLE_NAMES = ("df_chexpert_plus_240401.csv", "df_chexpert_plus_240401.csv.gz")

_COLUMNS = (
    *("path_to_image", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order"),
    *("section_clinical_history", "section_history", "section_findings", "section_impression", "split"),
)
# These become paths, so nothing but names of this kind is let in.
_PATH = re.compile(r"(?:^|/)((train|valid)/(patient\d+)/(study\d+)/view(\d+)_(?:frontal|lateral)\.\w+)$")
_RANK = {"PA": 0, "AP": 1}
_EMPTY = ("", "nan", "none")


@dataclass(slots=True)
class PlusStudy:
    """What the table says of one study; sections are on one line each, None where a cell holds only blanks."""

    patient: str
    split: str  # train or valid
    order: int | None  # place among the patient's reports by date
    findings: str | None
    impression: str | None
    indication: str | None
    images: list[tuple[str, View]] = field(default_factory=list)  # (path below the image folder, view), best first

    @property
    def frontal(self) -> str | None:
        """The frontal image that is taken where there are several."""
        return next((name for name, view in self.images if view == "frontal"), None)


def read_plus(path: Path) -> tuple[dict[str, PlusStudy], Counter[str]]:
    """The studies by id ("patient00001_study1") in the order of the table, and why rows were left out.

    PA goes before AP, and a lateral image follows; of equal ones the lower number of the view goes first.
    Raises: UserError when the table is damaged or another one.
    """
    studies: dict[str, PlusStudy] = {}
    images: defaultdict[str, dict[str, tuple[tuple[int, int], View]]] = defaultdict(dict)
    dropped = Counter[str]()
    for row in read_columns(path, _COLUMNS, "chexpert-plus"):
        found = _PATH.search(row[0].strip())
        if found is None or row[3].strip() not in ("", found[3]) or row[9].strip() not in ("", found[2]):
            dropped["malformed_row"] += 1
            continue
        i = f"{found[3]}_{found[4]}"
        told = _study(row, patient=found[3], split=found[2])
        first = studies.setdefault(i, told)
        if first != told:
            dropped["id_of_another_study"] += 1
        elif found[1] in images[i]:
            dropped["image_listed_twice"] += 1
        else:
            projection = row[2].strip().upper()
            rank = (_RANK.get(projection, len(_RANK)), int(found[5]))
            images[i][found[1]] = (rank, view_of(row[1]))
    for i, study in studies.items():
        study.images = [(name, view) for name, (_, view) in sorted(images[i].items(), key=lambda pair: pair[1][0])]
    return studies, dropped


def _study(row: tuple[str, ...], *, patient: str, split: str) -> PlusStudy:
    clinical, history, findings, impression = map(_section, row[5:9])
    parts = dict.fromkeys(part for part in (clinical, history) if part)
    return PlusStudy(patient, split, _order(row[4]), findings, impression, " ".join(parts) or None)


def _section(cell: str) -> str | None:
    text = " ".join(cell.split())
    return None if text.lower() in _EMPTY else text


def _order(cell: str) -> int | None:
    try:
        return int(float(cell))
    except (ValueError, OverflowError):
        return None
