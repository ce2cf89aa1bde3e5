"""OpenI (Indiana University chest X-rays) with its own images.

    ROOT/ecgen-radiology/1.xml ...      or NLMCXR_reports.tgz as downloaded, or under `archive`
    ROOT/NLMCXR_png/CXR1_1_IM-0001-3001.png ...     or under `images`
    ROOT/indiana_projections.csv        the views of the images, by hand, from the collection's Kaggle edition

The collection says of no image which view it shows. Without the table of views its DICOM headers stand in, which lack
a third of them and call many lateral images PA.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chexalign.data import openi
from chexalign.data.base import BEYOND, SPLIT_SEED, Item, assign_splits, held_out_first
from chexalign.data.images import image_ref, of_the_views
from chexalign.data.layout import inside, need_root
from chexalign.data.openi_files import IMAGES, REPORTS, image_files, image_key, image_views, reports_path
from chexalign.data.options import ReportOptions
from chexalign.types import Study, View

SOURCE = "openi"


@dataclass(frozen=True, kw_only=True)
class OpenI(ReportOptions):
    """OpenI reports with the collection's own PNG images."""

    license = openi.LICENSE
    synthetic = False

    archive: Path | None = None  # the reports, when not under `root`

    def items(self) -> tuple[list[Item], dict[str, int]]:
        """Reports with findings and an image of the wanted views, each with its split; no image is opened."""
        root = need_root(self.root, SOURCE, f"{REPORTS[0]} and {IMAGES[0]}")
        reports, dropped = openi.usable(openi.read_reports(reports_path(root, self.archive, SOURCE), {}), coded=False)
        folders = [self.images] if self.images else [root / name for name in IMAGES]
        files, views = image_files(folders, SOURCE), image_views(root, SOURCE)
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
        top = self.images or self.root
        if top and any(
            Path(path).is_symlink() and inside(top, Path(path).relative_to(top)) is None for path, _ in found
        ):
            return [], "image_outside_the_folder"
        return found, None if found else "no_image_of_the_views"
