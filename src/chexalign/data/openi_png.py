"""OpenI (Indiana University chest X-rays) with its own images.

    ROOT/ecgen-radiology/1.xml ...      or NLMCXR_reports.tgz as downloaded, or under `archive`
    ROOT/NLMCXR_png/CXR1_1_IM-0001-3001.png ...     or under `images`
    ROOT/indiana_projections.csv        the views of the images, by hand, from the collection's Kaggle edition

The collection says of no image which view it shows. Without the table of views its DICOM headers stand in, which lack
a third of them and call many lateral images PA.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chexalign.data import openi
from chexalign.data.base import BEYOND, SPLIT_SEED, Item, assign_splits, held_out_first
from chexalign.data.images import image_ref, of_the_views, view_of
from chexalign.data.layout import need_root, not_there, read_columns
from chexalign.data.options import ReportOptions
from chexalign.errors import UserError
from chexalign.types import Study, View

SOURCE = "openi"
VIEWS_NAME = "indiana_projections.csv"

_REPORTS = ("ecgen-radiology", "NLMCXR_reports/ecgen-radiology", "NLMCXR_reports", openi.ARCHIVE_NAME)
_IMAGES = ("NLMCXR_png", "images/images_normalized", "images", ".")
_KEY = re.compile(r"\d+_IM-[\d-]+")


@dataclass(frozen=True, kw_only=True)
class OpenI(ReportOptions):
    """OpenI reports with the collection's own PNG images."""

    license = openi.LICENSE
    synthetic = False

    archive: Path | None = None  # the reports, when not under `root`

    def items(self) -> tuple[list[Item], dict[str, int]]:
        """Reports with findings and an image of the wanted views, each with its split; no image is opened."""
        root = need_root(self.root, SOURCE, f"{_REPORTS[0]} and {_IMAGES[0]}")
        reports, dropped = openi.usable(openi.read_reports(self._reports(root), {}), coded=False)
        files, views = self._files(root), _views(root)
        kept = []
        for report in reports:
            found, reason = self._choose(report, files, views)
            if reason is None:
                kept.append((report, found))
            else:
                dropped[reason] += 1
        splits = assign_splits([report.id for report, _ in kept], held_out_first(self.split), seed=SPLIT_SEED)
        items = [Item(report.id, splits[report.id], (report, found)) for report, found in kept if report.id in splits]
        dropped += Counter({BEYOND: len(kept) - len(items)})
        return items, dict(dropped)

    def study(self, item: Item, images: Path) -> Study:
        """The study of one report, its text without the collection's XXXX tokens."""
        report, found = item.payload
        return Study(
            id=report.id,
            patient_id=report.id,  # the collection has one report per patient
            images=tuple(image_ref(Path(path), view, into=images) for path, view in found),
            indication=openi.strip_deidentified(report.indication or "") or None,
            reference=openi.strip_deidentified(report.findings),
            impression=report.impression,
            codes=report.codes,
            split=item.split,
            source=SOURCE,
            license=self.license,
        )

    def _choose(
        self, report: openi.OpenIReport, files: Mapping[str, Path], views: Mapping[str, View]
    ) -> tuple[list[tuple[str, View]], str | None]:
        """The report's images of the wanted views, or why it cannot be used."""
        if not openi.strip_deidentified(report.findings or ""):
            return [], "findings_empty_after_cleaning"
        keys = [image_key(name) for name, _ in report.images]
        there = [(str(files[key]), views.get(key, "unknown")) for key in keys if key in files]
        found = of_the_views(there, self.views)
        if not there:
            return [], "image_missing"
        return found, None if found else "no_image_of_the_views"

    def _reports(self, root: Path) -> Path:
        for path in [self.archive] if self.archive else [root / name for name in _REPORTS]:
            if path.exists():
                return path
        raise not_there(root, f"{' or '.join(_REPORTS)} with the reports", SOURCE)

    def _files(self, root: Path) -> dict[str, Path]:
        """The image files by key."""
        for folder in [self.images] if self.images else [root / name for name in _IMAGES]:
            if files := {image_key(path.name): path for path in sorted(folder.glob("*.png"))}:
                return files
        raise not_there(self.images or root, "*.png" if self.images else f"{_IMAGES[0]} with PNG images", SOURCE)


def image_key(name: str) -> str:
    """What two editions' names of an image have in common: CXR1_1_IM-0001-3001 and 1_IM-0001-3001.dcm.png are one."""
    found = _KEY.search(name)
    return found[0] if found else name.removesuffix(".png")


def _views(root: Path) -> dict[str, View]:
    """The view of each image that is known, by key."""
    if (root / VIEWS_NAME).is_file():
        rows = read_columns(root / VIEWS_NAME, ("filename", "projection"), SOURCE)
        return {image_key(name): view_of(projection) for name, projection in rows}
    try:
        headers = openi.find_packaged(openi.HEADERS_NAME)
    except UserError:
        raise not_there(root, f"{VIEWS_NAME}, which says of each image whether it is frontal,", SOURCE) from None
    return {image_key(name): view_of(view) for name, view in openi.read_views(headers).items()}
