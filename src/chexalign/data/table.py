"""Studies of a table of one's own: CSV, TSV, JSON lines or Parquet, with paths to image files.

One row per study, its images a list (or joined by `|` in a CSV), or one row per image with the study's text repeated.
Relative paths start at `images`, or else at the folder of the table. The license is what the recipe says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chexalign.data.base import SPLIT_SEED, Item, assign_by_patient, held_out_first, too_few
from chexalign.data.images import image_ref, of_the_views
from chexalign.data.options import ReportOptions
from chexalign.data.table_rows import TableRow, read_studies
from chexalign.errors import UserError
from chexalign.recipe import ColumnsSpec
from chexalign.types import ImageRef, Study, View

SOURCE = "table"
NO_LICENSE = "not stated"

# What a table's word for a split means; a patient of a later one is left out of the earlier ones.
_TRAINED_ON = {"sft": ("sft",), "prefer": ("prefer",), "train": ("sft", "prefer")}
_HELD_OUT = dict.fromkeys(("validation", "validate", "valid", "val", "dev"), ("validation",)) | {"test": ("test",)}
_SPLITS = _TRAINED_ON | _HELD_OUT
_RANK = {word: 2 if word == "test" else 1 if word in _HELD_OUT else 0 for word in _SPLITS}


@dataclass(frozen=True, kw_only=True)
class Table(ReportOptions):
    """The studies of a CSV, TSV, JSON lines or Parquet file, split by patient."""

    synthetic = False
    source = SOURCE

    columns: ColumnsSpec = field(default_factory=ColumnsSpec)
    license: str = NO_LICENSE

    def items(self) -> tuple[list[Item], dict[str, int]]:
        """The studies that have text and images, each with its split; no image is opened."""
        rows, dropped = self._read()
        has_views = any(view != "unknown" for row in rows.values() for _, view in row.images)
        usable: dict[str, TableRow] = {}
        for i, row in rows.items():
            if has_views:
                row.images = of_the_views(row.images, self.views)
            reason = self._reason(row)
            if reason is None:
                usable[i] = row
            else:
                dropped[reason] += 1
        splits, why = self._assign(usable)
        items = [Item(i, splits[i], row) for i, row in usable.items() if i in splits]
        return items, dict(dropped + why)

    def study(self, item: Item, images: Path) -> Study:
        """The study of one item."""
        row: TableRow = item.payload
        return Study(
            id=item.id,
            patient_id=row.patient,
            images=tuple(self._image(path, view, images) for path, view in row.images),
            indication=row.indication,
            reference=row.findings,
            impression=row.impression,
            codes=(),
            split=item.split,
            source=self.source,
            license=self.license,
        )

    def _read(self) -> tuple[dict[str, TableRow], Counter[str]]:
        """The studies that the table tells of, and why rows were left out."""
        if self.root is None:
            raise UserError(
                "data.root is missing.", "The dataset table is read from a file.", "Give data.root its path."
            )
        return read_studies(self.root, self.columns, self.images or self.root.parent)

    def _is_there(self, path: str) -> bool:
        return Path(path).is_file()

    def _image(self, path: str, view: View, images: Path) -> ImageRef:
        return image_ref(Path(path), view, into=images)

    def _reason(self, row: TableRow) -> str | None:
        """Why a row cannot be used, as far as that can be known without opening images."""
        if not row.findings:
            return "findings_empty"
        if not row.images:
            return "no_image_of_the_views"
        if any(not path for path, _ in row.images):
            return "image_outside_the_folder"
        if not all(self._is_there(path) for path, _ in row.images):
            return "image_missing"
        return None

    def _assign(self, rows: Mapping[str, TableRow]) -> tuple[dict[str, str], Counter[str]]:
        """The split of each study: by the table's own column, or at random by patient where it has none."""
        sizes = {name: size for name, size in self.split.items() if size}
        if not any(row.split for row in rows.values()):
            patients = {i: row.patient for i, row in rows.items()}
            splits, why = assign_by_patient(patients, held_out_first(sizes), seed=SPLIT_SEED)
            if len(splits) < sum(sizes.values()):
                raise too_few(sizes, len(splits))
            return splits, why
        return self._as_told(rows, sizes)

    def _as_told(self, rows: Mapping[str, TableRow], sizes: dict[str, int]) -> tuple[dict[str, str], Counter[str]]:
        highest: defaultdict[str, int] = defaultdict(int)
        for row in rows.values():
            highest[row.patient] = max(highest[row.patient], _RANK.get(row.split or "", 0))
        pools: defaultdict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
        dropped = Counter[str]()
        for i, row in rows.items():
            if row.split not in _SPLITS:
                dropped["unknown_split"] += 1
            elif _RANK[row.split] < highest[row.patient]:
                dropped["patient_in_another_split"] += 1
            else:
                pools[_SPLITS[row.split]][i] = row.patient
        splits: dict[str, str] = {}
        for names in sorted(pools, key=len):  # what the table gives to one split alone goes first
            left = {name: sizes[name] - sum(s == name for s in splits.values()) for name in names if name in sizes}
            found, why = assign_by_patient(pools[names], left, seed=SPLIT_SEED)
            splits |= found
            dropped += why
        if lacking := [name for name in sizes if name not in splits.values()]:
            raise UserError(
                f"data.split.{lacking[0]} has no study.",
                f"The table's column {self.columns.split!r} has its own splits, and no usable study is left for it.",
                f"Use the words {', '.join(_SPLITS)} there; train is shared out among sft and prefer.",
            )
        return splits, dropped
