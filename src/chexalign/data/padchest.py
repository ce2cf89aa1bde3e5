"""PadChest: 16-bit PNG images with Spanish reports, by study.

    ROOT/PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz        (packed or not)
    ROOT/0/IMAGE.png ... ROOT/54/IMAGE.png          folders as unpacked, or all images in one (or under `images`)

The reports are published as stems of words in small letters without accents. There are no official splits.
Source: Bustos et al. 2020, BIMCV; for those who accepted its agreement.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from chexalign.data.base import SPLIT_SEED, DropStudyError, Item, assign_by_patient, held_out_first, too_few
from chexalign.data.images import image_ref, of_the_views
from chexalign.data.layout import find_file, kept_in, need_root, read_columns
from chexalign.data.options import ReportOptions
from chexalign.data.priors import newest_earlier, prior_ref
from chexalign.types import Study, View

SOURCE = "padchest"
LICENSE = "PadChest Dataset Research Use Agreement"
TABLE_NAMES = tuple(f"PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv{ending}" for ending in (".gz", ""))

_COLUMNS = (
    *("ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "Projection", "Report", "MethodLabel"),
    "Labels",
)
_IMAGE, _FOLDER = re.compile(r"[0-9A-Za-z_.-]+\.png"), re.compile(r"[0-9]+")  # they become paths
_VIEWS: dict[str, View] = {"PA": "frontal", "AP": "frontal", "AP_HORIZONTAL": "frontal", "L": "lateral"}
_ORDER = {word: place for place, word in enumerate(_VIEWS)}
_NONE = ("", "nan", ".")
_BY_PEOPLE = "Physician"


@dataclass(slots=True)
class PadStudy:
    """What the table says of one study; labels are kept only where physicians gave them."""

    patient: str
    date: str
    report: str
    labels: tuple[str, ...]
    images: list[tuple[str, View]] = field(default_factory=list)  # (folder/name, view), PA before AP before lying


@dataclass(frozen=True, kw_only=True)
class PadChest(ReportOptions):
    """PadChest by study, split at random by patient; the reports are in Spanish."""

    license = LICENSE
    synthetic = False
    prior: bool = False  # whether the newest earlier frontal image comes last

    def items(self) -> tuple[list[Item], dict[str, int]]:
        """The studies that have text and images, each with its split; no image is opened."""
        root = need_root(self.root, SOURCE, f"{TABLE_NAMES[0]} and the images")
        studies, dropped = read_padchest(find_file([root], TABLE_NAMES, SOURCE))
        top = self.images or root
        usable: dict[str, tuple[tuple[str, View], ...]] = {}
        for i, study in studies.items():
            try:
                usable[i] = self._files(study, top)
            except DropStudyError as e:
                dropped[str(e)] += 1
        sizes = {name: size for name, size in self.split.items() if size}
        splits, why = assign_by_patient({i: studies[i].patient for i in usable}, held_out_first(sizes), seed=SPLIT_SEED)
        if len(splits) < sum(sizes.values()):
            raise too_few(sizes, len(splits))
        priors = newest_earlier(_frontal(i, study) for i, study in studies.items()) if self.prior else {}
        items = [
            Item(i, splits[i], (studies[i], found, _path(top, priors[i][1]) if i in priors else None))
            for i, found in usable.items()
            if i in splits
        ]
        return items, dict(dropped + why)

    def study(self, item: Item, images: Path) -> Study:
        """The study of one report; findings and impression are not told apart in it."""
        told: PadStudy
        told, found, prior = item.payload
        refs = [image_ref(Path(path), view, into=images) for path, view in found]
        if prior is not None:
            refs.append(prior_ref(Path(prior), into=images))
        return Study(
            id=item.id,
            patient_id=told.patient,
            images=tuple(refs),
            indication=None,
            reference=told.report,
            impression=None,
            codes=told.labels,
            split=item.split,
            source=SOURCE,
            license=self.license,
        )

    def _files(self, study: PadStudy, top: Path) -> tuple[tuple[str, View], ...]:
        """The files of the wanted views.

        Raises: DropStudyError with why the study cannot be used.
        """
        if study.report in _NONE:
            raise DropStudyError("findings_empty")
        chosen = of_the_views(study.images, self.views)
        if not chosen:
            raise DropStudyError("no_image_of_the_views")
        files = [(kept_in(top, Path(_path(top, name)), "image"), view) for name, view in chosen]
        if not all(path.is_file() for path, _ in files):
            raise DropStudyError("image_missing")
        return tuple((str(path), view) for path, view in files)


def read_padchest(path: Path) -> tuple[dict[str, PadStudy], Counter[str]]:
    """The studies by id in the order of the table, and why rows were left out.

    Raises: UserError when the table is damaged or another one.
    """
    studies: dict[str, PadStudy] = {}
    images: defaultdict[str, list[tuple[int, str, View]]] = defaultdict(list)
    dropped = Counter[str]()
    listed: set[str] = set()
    for image, folder, date, i, patient, projection, report, method, labels in read_columns(path, _COLUMNS, SOURCE):
        if not (_IMAGE.fullmatch(image) and _FOLDER.fullmatch(folder) and i.strip() and patient.strip()):
            dropped["malformed_row"] += 1
            continue
        by_people = _labels(labels) if method.strip() == _BY_PEOPLE else ()
        told = PadStudy(patient.strip(), date.strip(), " ".join(report.split()), by_people)
        first = studies.setdefault(i.strip(), told)
        if (first.patient, first.report) != (told.patient, told.report):
            dropped["id_of_another_study"] += 1
        elif image in listed:
            dropped["image_listed_twice"] += 1
        else:
            listed.add(image)
            word = projection.strip().upper()
            place = (_ORDER.get(word, len(_ORDER)), f"{folder}/{image}", _VIEWS.get(word, "unknown"))
            images[i.strip()].append(place)
    for i, study in studies.items():
        study.images = [(name, view) for _, name, view in sorted(images[i])]
    return studies, dropped


def _labels(cell: str) -> tuple[str, ...]:
    """The labels of a cell, which holds a list as Python writes it."""
    try:
        found = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    return tuple(label.strip() for label in found if isinstance(label, str)) if isinstance(found, list) else ()


def _frontal(i: str, study: PadStudy) -> tuple[str, str, str, str | None]:
    return i, study.patient, study.date, next((name for name, view in study.images if view == "frontal"), None)


def _path(top: Path, name: str) -> str:
    """The file of an image: in its folder, or beside all others."""
    folder, _, image = name.partition("/")
    return f"{top}/{name}" if (top / folder).is_dir() else f"{top}/{image}"
