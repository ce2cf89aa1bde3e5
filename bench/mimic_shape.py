"""A made-up collection in the layout, the size and the oddities of MIMIC-CXR with MIMIC-CXR-JPG.

Tables, folders and file names are the official ones; every sentence is written here, and patients, dates and views are
drawn. The images are hard links to a few tiny JPEG files: what is done per file is done, what is done per byte is not.
"""

from __future__ import annotations

import csv
import gzip
import os
import random
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

PATIENTS, STUDIES, IMAGES = 65_379, 227_827, 377_110  # of MIMIC-CXR 2.0.0
_FILES_LINKED_TO, _SIDE_PX = 32, 64  # a file may have some 65,000 links

METADATA = (
    *("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns"),
    *("StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning"),
    "PatientOrientationCodeSequence_CodeMeaning",
)
_CODED = {"AP": "antero-posterior", "PA": "postero-anterior", "LATERAL": "lateral", "LL": "left lateral"}
_FIRST_VIEWS, _FIRST_SHARES = ("AP", "PA", "", "AP AXIAL", "LAO", "PA LLD"), (58, 35, 6, 0.5, 0.3, 0.2)
_LATER_VIEWS, _LATER_SHARES = ("LATERAL", "LL", "AP", "PA", "", "SWIMMERS"), (48, 26, 13, 6, 6, 1)

_INDICATIONS = (
    "___F with cough and fever  // evaluate for pneumonia",
    "___ year old man with shortness of breath, please assess for edema.",
    "___M s/p line placement  // ? pneumothorax",
    "Chest pain.",
)
_SENTENCES = (
    "The lungs are clear without focal consolidation.",
    "There is a small left pleural effusion with adjacent atelectasis.",
    "The cardiac silhouette is mildly enlarged.",
    "No pneumothorax is seen.",
    "A right internal jugular line ends in the mid superior vena cava.",
    "Mild pulmonary vascular congestion is similar to the exam of ___.",
    "The mediastinal and hilar contours are within normal limits.",
    "Low lung volumes accentuate the bronchovascular markings.",
    "There is no acute osseous abnormality.",
    "Patchy opacity at the right base may be atelectasis, though infection is possible.",
    "An endotracheal tube ends 4.5 cm above the carina.",
    "Degenerative changes are noted along the thoracic spine.",
)
_IMPRESSIONS = ("No acute cardiopulmonary process.", "Small left effusion.", "1. Mild edema.\n 2. Lines as above.")


@dataclass(frozen=True, slots=True)
class Shape:
    """How many there are of each."""

    patients: int = PATIENTS
    studies: int = STUDIES
    images: int = IMAGES


def write_collection(root: Path, shape: Shape, *, seed: int) -> None:
    """The collection in a folder of its own: tables, reports and images."""
    rng = random.Random(seed)
    root.mkdir(parents=True)
    links = list(_jpegs(root.parent / f"{root.name}-pixels"))
    with (
        _table(root / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA) as metadata,
        _table(root / "mimic-cxr-2.0.0-split.csv.gz", ("dicom_id", "study_id", "subject_id", "split")) as splits,
    ):
        for number, exam in enumerate(_exams(rng, shape)):
            folder = f"p{str(exam.patient)[:2]}/p{exam.patient}"
            report = root / "mimic-cxr-reports/files" / folder / f"s{exam.study}.txt"
            images = root / "files" / folder / f"s{exam.study}"
            report.parent.mkdir(parents=True, exist_ok=True)
            images.mkdir(parents=True)
            report.write_text(_report(rng))
            for place, dicom in enumerate(exam.dicoms):
                os.link(links[(number + place) % len(links)], images / f"{dicom}.jpg")
                metadata.writerow(exam.row(rng, place, dicom))
                splits.writerow([dicom, exam.study, exam.patient, exam.split])


@dataclass(frozen=True, slots=True)
class _Exam:
    patient: int
    study: int
    split: str
    date: int
    dicoms: tuple[str, ...]

    def row(self, rng: random.Random, place: int, dicom: str) -> list[Any]:
        views, shares = (_LATER_VIEWS, _LATER_SHARES) if place else (_FIRST_VIEWS, _FIRST_SHARES)
        view = rng.choices(views, shares)[0]
        coded = _CODED.get(view, "") if rng.random() < 0.9 else ""
        time = rng.randrange(240_000) + rng.randrange(1000) / 1000  # no zeros in front, as in 93000.25
        what = "CHEST (PA AND LAT)" if len(self.dicoms) > 1 else "CHEST (PORTABLE AP)"
        return [
            *(dicom, self.patient, self.study, what, view, 3056, 2544, self.date + place // 9, time, what, coded),
            "Erect" if rng.random() < 0.8 else "",
        ]


def _exams(rng: random.Random, shape: Shape) -> Iterator[_Exam]:
    """Exams in the order of the official tables: by patient, then by study."""
    of_patient = _shared_out(rng, shape.studies, shape.patients)
    of_study = iter(_shared_out(rng, shape.images, shape.studies, most=4))
    patients = sorted(rng.sample(range(10_000_000, 20_000_000), shape.patients))
    studies = rng.sample(range(50_000_000, 60_000_000), shape.studies)
    for patient, n in zip(patients, of_patient, strict=True):
        split = rng.choices(("train", "validate", "test"), (97.8, 0.8, 1.4))[0]
        for study in sorted(studies.pop() for _ in range(n)):
            dicoms = tuple("-".join(f"{rng.getrandbits(32):08x}" for _ in range(5)) for _ in range(next(of_study)))
            yield _Exam(patient, study, split, 21_100_101 + rng.randrange(900_000), dicoms)


def _shared_out(rng: random.Random, whole: int, places: int, most: int = 200) -> list[int]:
    """At least one for each place, and the rest drawn."""
    counts = [1] * places
    left = whole - places
    while left:
        place = rng.randrange(places)
        if counts[place] < most and (most > 4 or counts[place] == 1 or rng.random() < 0.2):
            counts[place] += 1
            left -= 1
    return counts


def _report(rng: random.Random) -> str:
    """A report as the collection has them; one in eight has no findings, some have headings of other spellings."""
    findings = " ".join(rng.sample(_SENTENCES, rng.randrange(3, 8)))
    sections = [("EXAMINATION", "Chest radiograph"), ("INDICATION", rng.choice(_INDICATIONS))]
    sections += [("TECHNIQUE", "Chest PA and lateral"), ("COMPARISON", "___")]
    draw = rng.random()
    if draw > 0.125:
        sections.append(("PA AND LATERAL VIEWS OF THE CHEST" if draw > 0.95 else "FINDINGS", findings))
    sections.append(("IMPRESSION", rng.choice(_IMPRESSIONS)))
    lines = [f" {name}:  \n \n{textwrap.indent(textwrap.fill(text, 78), ' ')}\n \n" for name, text in sections]
    return " " * 33 + "FINAL REPORT\n" + "".join(lines)


def _jpegs(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    for n in range(_FILES_LINKED_TO):
        path = folder / f"{n}.jpg"
        Image.frombytes("L", (_SIDE_PX, _SIDE_PX), random.Random(n).randbytes(_SIDE_PX**2)).save(path)
        yield path


@contextmanager
def _table(path: Path, header: tuple[str, ...]) -> Iterator[Any]:
    """A writer of a packed CSV file."""
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(header)
        yield writer
