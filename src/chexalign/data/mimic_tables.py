"""The tables of MIMIC-CXR-JPG: which exams there are, their images and views, and what came before each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from chexalign.data.images import FRONTAL, LATERAL, view_of
from chexalign.data.layout import read_columns
from chexalign.data.priors import newest_earlier
from chexalign.types import View

SOURCE = "mimic-cxr"
SPLIT_NAMES = ("mimic-cxr-2.0.0-split.csv.gz", "mimic-cxr-2.0.0-split.csv")
METADATA_NAMES = ("mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-metadata.csv")

_COLUMNS = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
# Where ViewPosition is empty, the name of the view's code often is not.
_CODED = {"POSTERO-ANTERIOR": "PA", "ANTERO-POSTERIOR": "AP", "LATERAL": "LATERAL", "LEFT LATERAL": "LL"}
_DIGITS, _DICOM = re.compile(r"[0-9]+").fullmatch, re.compile(r"[0-9A-Za-z-]*[0-9A-Za-z][0-9A-Za-z-]*").fullmatch
_ORDER = {word: place for place, word in enumerate((*FRONTAL, *LATERAL))}


@dataclass(frozen=True, slots=True)
class Exam:
    """One study as the collection's tables list it."""

    study: str
    patient: str
    taken: tuple[str, float]  # date, and the time as a number, HHMMSS
    images: tuple[tuple[str, View], ...]  # (DICOM id, view), the best of each view first
    prior: tuple[str, str] | None = None  # study and DICOM id of the newest earlier frontal image

    @property
    def folder(self) -> str:
        """The patient's folder, as "p10/p10000032"."""
        return f"p{self.patient[:2]}/p{self.patient}"

    @property
    def frontal(self) -> str | None:
        """The DICOM id of the frontal image that is taken where there are several."""
        return next((dicom for dicom, view in self.images if view == "frontal"), None)


def read_exams(metadata: Path) -> tuple[list[Exam], int]:
    """All exams in the order of the table of metadata, and how many of its rows have no ids, or no image of their own.

    PA goes before AP, and a lateral image follows.

    Raises: UserError when the table is damaged or another one.
    """
    images: defaultdict[str, list[tuple[int, str, View]]] = defaultdict(list)
    first: dict[str, tuple[str, tuple[str, float]]] = {}  # patient and time of each study
    malformed = 0
    for row in read_columns(metadata, (*_COLUMNS, "ViewCodeSequence_CodeMeaning"), SOURCE):
        dicom, patient, study, position, date, time, coded = row
        if not (_DIGITS(patient) and _DIGITS(study) and _DICOM(dicom)):  # they become paths
            malformed += 1
            continue
        if first.setdefault(study, (patient, (date, _number(time))))[0] != patient:
            malformed += 1
            continue
        if any(dicom == known for _, known, _ in images[study]):
            malformed += 1
            continue
        word = position.strip().upper() or _CODED.get(coded.strip().upper(), "")
        images[study].append((_ORDER.get(word, len(_ORDER)), dicom, view_of(word)))
    exams = [
        Exam(study, *first[study], tuple((dicom, view) for _, dicom, view in sorted(found)))
        for study, found in images.items()
    ]
    return exams, malformed


def read_splits(split: Path) -> dict[str, str]:
    """The official split of each study: train, validate or test.

    Raises: UserError when the table is damaged or another one.
    """
    return {study: name for study, name in read_columns(split, ("study_id", "split"), SOURCE)}  # noqa: C416 (typed so)


def with_priors(exams: Iterable[Exam]) -> list[Exam]:
    """The exams, each with the newest earlier frontal image of its patient where there is one."""
    exams = list(exams)
    priors = newest_earlier((exam.study, exam.patient, exam.taken, exam.frontal) for exam in exams)
    return [replace(exam, prior=priors[exam.study]) if exam.study in priors else exam for exam in exams]


def _number(time: str) -> float:
    """A number that orders times of a day; the table writes them as HHMMSS.fff without leading zeros."""
    try:
        return float(time)
    except ValueError:
        return 0.0
