"""Disease identification on OpenI: the findings that human indexers coded, with the collection's own images.

    ROOT/ecgen-radiology/1.xml ...      or NLMCXR_reports.tgz, or under `archive`
    ROOT/NLMCXR_png/CXR1_1_IM-0001-3001.png ...     or under `images`
    ROOT/indiana_projections.csv        the views of the images

MeSH codes become findings by the table of `chexalign.data.mesh`. A report that no indexer coded is left out.
Source: Demner-Fushman et al. 2016.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from chexalign.data import openi
from chexalign.data.layout import need_root
from chexalign.data.mesh import labels_from_codes
from chexalign.data.openi_files import IMAGES, REPORTS, coded_frontals
from chexalign.data.questions import Picture, QuestionItem, share_of
from chexalign.data.tasks.diseases import Labeled, ask
from chexalign.data.tasks.findings import finding_name

SOURCE = "openi-diseases"


class OpenIDiseases:
    """Which findings does this X-ray show? From the MeSH codes that human indexers gave to the OpenI reports."""

    name = SOURCE
    license = openi.LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": openi.LICENSE,
        "needs": f"{REPORTS[0]}/*.xml, {IMAGES[0]}/*.png and indiana_projections.csv",
    }

    def __init__(self, *, root: Path | None = None, images: Path | None = None, archive: Path | None = None) -> None:
        self.root, self.images, self.archive = root, images, archive

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """Questions about the first frontal image of each coded report; a report is a patient."""
        root = need_root(self.root, SOURCE, f"{REPORTS[0]} and {IMAGES[0]}")
        coded, dropped = coded_frontals(root, self.images, self.archive, SOURCE)
        items, left_out = ask([_labeled(report, path) for report, path in coded])
        return items, {reason: n for reason, n in (dropped | left_out).items() if n}


def _labeled(report: openi.OpenIReport, path: Path) -> Labeled:
    return Labeled(
        study=report.id,
        patient=report.id,
        split=share_of(report.id),
        picture=Picture(str(path), "frontal", top=str(path.parent)),
        present=frozenset(map(finding_name, labels_from_codes(report.codes))),
        unsure=frozenset(),
        codes=report.codes,
    )
