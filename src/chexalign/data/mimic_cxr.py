"""MIMIC-CXR: reports as text files, with the images of MIMIC-CXR-JPG and its official splits.

    ROOT/mimic-cxr-2.0.0-split.csv.gz, ROOT/mimic-cxr-2.0.0-metadata.csv.gz     (packed or not)
    ROOT/files/p10/p10000032/s50414267/DICOMID.jpg
    ROOT/mimic-cxr-reports/files/p10/p10000032/s50414267.txt                    (or under `archive`)

The official training patients are shared out among the splits sft and prefer; validate and test stay as they are.
Source: Johnson et al. 2019, PhysioNet; credentialed data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chexalign.data.base import BEYOND, DropStudyError, Item, assign_by_official
from chexalign.data.images import image_ref, of_the_views
from chexalign.data.layout import find_file, kept_in, need_root, not_there
from chexalign.data.mimic_tables import METADATA_NAMES, SOURCE, SPLIT_NAMES, Exam, read_exams, read_splits, with_priors
from chexalign.data.options import ReportOptions
from chexalign.data.priors import prior_ref
from chexalign.data.sections import Sections, read_sections
from chexalign.types import Study

LICENSE = "PhysioNet Credentialed Health Data License 1.5.0"

_OURS = {"train": ("sft", "prefer"), "validate": ("validation",), "test": ("test",)}


@dataclass(frozen=True, slots=True)
class Places:
    """The folders in which p10 to p19 are, of reports and of images, and those that links among them may not leave."""

    reports: Path
    images: Path
    reports_top: Path
    images_top: Path

    def sections(self, exam: Exam) -> Sections:
        """The sections of an exam's report.

        Raises: DropStudyError: report_missing, report_unreadable or report_outside_the_folder.
        """
        path = kept_in(self.reports_top, Path(f"{self.reports}/{exam.folder}/s{exam.study}.txt"), "report")
        try:
            return read_sections(path.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            raise DropStudyError("report_missing") from None
        except OSError:
            raise DropStudyError("report_unreadable") from None

    def image(self, exam: Exam, study: str, dicom: str) -> Path:
        """The file of an image of the exam's patient.

        Raises: DropStudyError: image_outside_the_folder.
        """
        return kept_in(self.images_top, Path(f"{self.images}/{exam.folder}/s{study}/{dicom}.jpg"), "image")


@dataclass(frozen=True, kw_only=True)
class MimicCXR(ReportOptions):
    """MIMIC-CXR reports with the JPEG images of MIMIC-CXR-JPG, in the official splits."""

    license = LICENSE
    synthetic = False

    archive: Path | None = None  # the reports, when not under `root`
    prior: bool = False  # whether the newest earlier frontal image comes last

    def items(self) -> tuple[list[Item], dict[str, int]]:
        """At most as many studies as each split asks for.

        Reports are opened only where it depends on them which studies a split gets: not for a split that takes all
        that there is. Cost: the two tables, held in memory, and those reports.
        """
        root = need_root(self.root, SOURCE, f"{SPLIT_NAMES[0]} and the images")
        exams, malformed = read_exams(find_file([root], METADATA_NAMES, SOURCE))
        official = read_splits(find_file([root], SPLIT_NAMES, SOURCE))
        places = self._places(root, exams)
        of_study = {exam.study: exam for exam in (with_priors(exams) if self.prior else exams)}
        patients = {i: exam.patient for i, exam in of_study.items()}
        splits, why = assign_by_official(
            patients, official, _OURS, self.split, reason=lambda i: self._reason(places, of_study[i])
        )
        dropped = why + Counter(malformed_row=malformed)
        items = [Item(f"s{i}", splits[i], (places, exam)) for i, exam in of_study.items() if i in splits]
        return items, dict(sorted(dropped.items(), key=lambda pair: pair[0] == BEYOND))

    def study(self, item: Item, images: Path) -> Study:
        """The study of one exam; its findings and its indication are the report's, on one line each."""
        places: Places
        exam: Exam
        places, exam = item.payload
        chosen = of_the_views(exam.images, self.views)
        if not chosen:
            raise DropStudyError("no_image_of_the_views")
        found = places.sections(exam)
        if found.findings is None:
            raise DropStudyError("no_findings_section")
        refs = [image_ref(places.image(exam, exam.study, dicom), view, into=images) for dicom, view in chosen]
        if exam.prior is not None:
            refs.append(prior_ref(places.image(exam, *exam.prior), into=images))
        return Study(
            id=item.id,
            patient_id=exam.patient,
            images=tuple(refs),
            indication=found.indication,
            reference=found.findings,
            impression=found.impression,
            codes=(),
            split=item.split,
            source=SOURCE,
            license=self.license,
        )

    def _reason(self, places: Places, exam: Exam) -> str | None:
        """Why an exam cannot be used, as far as that can be known without opening images."""
        chosen = of_the_views(exam.images, self.views)
        if not chosen:
            return "no_image_of_the_views"
        try:
            if not all(places.image(exam, exam.study, dicom).is_file() for dicom, _ in chosen):
                return "image_missing"
            return None if places.sections(exam).findings else "no_findings_section"
        except DropStudyError as e:
            return str(e)

    def _places(self, root: Path, exams: Sequence[Exam]) -> Places:
        tops = [top for top in (self.archive, root) if top is not None]
        folders = [top / name for top in tops for name in ("mimic-cxr-reports/files", "files", ".")]
        reports = (f"{exam.folder}/s{exam.study}.txt" for exam in exams)
        jpegs = (f"{exam.folder}/s{exam.study}/{exam.images[0][0]}.jpg" for exam in exams)
        top = self.images or root
        texts = _holding(folders, reports, tops[0], "mimic-cxr-reports/files")
        return Places(
            reports=texts,
            images=_holding([top / "files", top], jpegs, top, "files"),
            reports_top=next(folder for folder in tops if texts.is_relative_to(folder)),
            images_top=top,
        )


def _holding(places: Sequence[Path], names: Iterable[str], top: Path, official: str) -> Path:
    """The first place that holds one of the files; usually the first file is there, so few are looked for."""
    places = [place for place in places if any((place / f"p{n}").is_dir() for n in range(10, 20))]
    first = None
    for name in names:
        first = first or name
        for place in places:
            if (place / name).is_file():
                return place
    raise not_there(top, f"{official}/{first or 'p10'}, nor that of any other study", SOURCE)
