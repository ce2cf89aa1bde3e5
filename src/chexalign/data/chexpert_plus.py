"""CheXpert Plus: the public table of reports by section, with PNG or DICOM images.

    ROOT/df_chexpert_plus_240401.csv
    ROOT/PNG/train/patient00001/study1/view1_frontal.png        or PNG/png_chexpert_plus_chunk_0/PNG/train/...
    ROOT/DICOM/Uncompressed/train/patient00001/study1/view1_frontal.dcm        (or under `images`)

The table has one row per image and names `.jpg` files, which are not shipped: whichever file of that name is there is
taken, PNG before JPEG before DICOM. Its own splits are train and valid: valid is our validation. There is no test with
reports, so one in twenty patients of train is kept for it: which ones follows from their ids alone, whatever a recipe
asks for, and their studies are trained on by no run.
Source: Chambon et al. 2024, Stanford AIMI; for those who accepted its agreement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chexalign.data.base import BEYOND, DropStudyError, Item, assign_by_official
from chexalign.data.chexpert_plus_table import TABLE_NAMES, PlusStudy, read_plus
from chexalign.data.images import image_ref, of_the_views
from chexalign.data.layout import find_file, kept_in, need_root, not_there
from chexalign.data.options import ReportOptions
from chexalign.data.priors import newest_earlier, prior_ref
from chexalign.data.questions import share_of
from chexalign.types import Study, View

SOURCE = "chexpert-plus"
LICENSE = "Stanford University Dataset Research Use Agreement"

_CHUNK = "png_chexpert_plus_chunk_*"  # archives of images, and the folders that they may be unpacked to
_PLACES = (
    *("PNG", "PNG/PNG", f"PNG/{_CHUNK}/PNG", f"PNG/{_CHUNK}", f"{_CHUNK}/PNG", _CHUNK),
    *("CheXpert-v1.0", "CheXpert-v1.0-small", "DICOM/Uncompressed", "DICOM/Compressed", "DICOM"),
)
_ENDINGS = (".png", ".jpg", ".dcm")
_OURS = {"train": ("sft", "prefer"), "valid": ("validation",), "test": ("test",)}
_SHARES = {"test": 0.05, "train": 0.95}  # of the patients of train; fixed for good


@dataclass(frozen=True, kw_only=True)
class CheXpertPlus(ReportOptions):
    """CheXpert Plus by study: findings and impression of the table, images of whichever format is there."""

    license = LICENSE
    synthetic = False
    prior: bool = False  # whether the newest earlier frontal image comes last

    def items(self) -> tuple[list[Item], dict[str, int]]:
        """At most as many studies as each split asks for; no image is opened.

        Cost: the table, some 500 MB of text, and a look for the files of studies with findings.
        """
        root = need_root(self.root, SOURCE, f"{TABLE_NAMES[0]} and the images")
        studies, dropped = read_plus(find_file([root], TABLE_NAMES, SOURCE))
        top = self.images or root
        places = _places(top)
        usable: dict[str, list[tuple[str, View]]] = {}
        for i, study in studies.items():
            found, reason = self._choose(study, top, places)
            if reason is None:
                usable[i] = found
            else:
                dropped[reason] += 1
        splits, why = assign_by_official(
            {i: studies[i].patient for i in usable},
            {i: _official(studies[i]) for i in usable},
            _OURS,
            self.split,
        )
        priors = self._priors(studies, top, places) if self.prior else {}
        items = [Item(i, splits[i], (studies[i], usable[i], priors.get(i))) for i in usable if i in splits]
        return items, dict(sorted((dropped + why).items(), key=lambda pair: pair[0] == BEYOND))

    def study(self, item: Item, images: Path) -> Study:
        """The study of one report, its sections as written, each on one line."""
        told: PlusStudy
        told, chosen, prior = item.payload
        refs = [image_ref(Path(path), view, into=images) for path, view in chosen]
        if prior is not None:
            refs.append(prior_ref(Path(prior), into=images))
        return Study(
            id=item.id,
            patient_id=told.patient,
            images=tuple(refs),
            indication=told.indication,
            reference=told.findings or "",
            impression=told.impression,
            codes=(),
            split=item.split,
            source=SOURCE,
            license=self.license,
        )

    def _choose(self, study: PlusStudy, top: Path, places: Sequence[Path]) -> tuple[list[tuple[str, View]], str | None]:
        """The files of a study's images of the wanted views, or why it cannot be used."""
        if study.findings is None:
            return [], "no_findings_section"
        chosen = of_the_views(study.images, self.views)
        if not chosen:
            return [], "no_image_of_the_views"
        try:
            return [(_find(top, places, name), view) for name, view in chosen], None
        except DropStudyError as e:
            return [], str(e)

    def _priors(self, studies: Mapping[str, PlusStudy], top: Path, places: Sequence[Path]) -> dict[str, str]:
        """The file of the newest earlier frontal image of each study that has one; one that is not there is named."""
        exams = ((i, s.patient, s.order, s.frontal) for i, s in studies.items() if s.order is not None)
        return {i: _find_or_name(top, places, name) for i, (_, name) in newest_earlier(exams).items()}


def _places(top: Path) -> list[Path]:
    """The folders that hold train or valid."""
    places = [place for pattern in _PLACES for place in sorted(top.glob(pattern))]
    found = [place for place in (top, *places) if _holds(place)]
    if not found:
        raise not_there(top, f"{_PLACES[0]}/train with PNG images, nor DICOM/Uncompressed/train", SOURCE)
    return found


def _official(study: PlusStudy) -> str:
    return share_of(study.patient, _SHARES) if study.split == "train" else study.split


def _holds(place: Path) -> bool:
    return any((place / name).is_dir() for name in ("train", "valid"))


def _find(top: Path, places: Iterable[Path], name: str) -> str:
    """The first file of that name, whose own ending does not count.

    Raises: DropStudyError: image_missing or image_outside_the_folder.
    """
    stem = name.rpartition(".")[0]
    for place in places:
        for ending in _ENDINGS:
            if (path := kept_in(top, place / f"{stem}{ending}", "image")).is_file():
                return str(path)
    raise DropStudyError("image_missing")


def _find_or_name(top: Path, places: Sequence[Path], name: str) -> str:
    try:
        return _find(top, places, name)
    except DropStudyError:
        return str(places[0] / name)  # where making the study will miss it
