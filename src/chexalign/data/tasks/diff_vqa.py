"""Medical-Diff-VQA: what has changed between two exams of MIMIC-CXR, and questions about the later one alone.

    ROOT/mimic_pair_questions.csv       study_id, ref_id, subject_id, question_type, question, answer, split
    ROOT/mimic_all.csv                  study_id, dicom_id, view, split, study_order, ...
    ROOT/all_diseases.json              may be missing: the findings of each report; more evidence
    IMAGES/files/p10/p10000032/s50414267/DICOMID.jpg        MIMIC-CXR-JPG, named by `images`

Rows are about studies. Each study is shown by the frontal image that mimic_all.csv lists for it (PA before AP where it
lists several): of another image of the same study the answers to view questions would be wrong. The rows of the first
release compare in both directions; those whose reference exam is not the earlier one are left out.
Source: Hu et al. 2023, PhysioNet; credentialed data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from chexalign.data.answers import YES_NO, atoms, plain
from chexalign.data.layout import find_file, need_root, read_columns
from chexalign.data.loose import field, json_rows, number, one_line
from chexalign.data.mimic_images import LICENSE, files_folder, is_dicom_id, jpeg
from chexalign.data.questions import Draft, Picture, QuestionItem
from chexalign.data.tasks.diff_vqa_evidence import evidence_of
from chexalign.data.tasks.held_out import SPLITS, counts, patients_apart
from chexalign.types import AnswerType, Evidence

_PAIRS, _STUDIES, _FINDINGS = "mimic_pair_questions.csv", "mimic_all.csv", "all_diseases.json"
_TYPES = ("abnormality", "presence", "view", "location", "level", "type", "difference")
_VIEWS = {"postero-anterior": 0, "pa": 0, "antero-posterior": 1, "ap": 1}  # PA before AP
_SIDES, _PROJECTIONS = ("left side", "right side"), ("ap view", "pa view")


@dataclass(frozen=True, slots=True)
class _Exam:
    """A study by its frontal image."""

    rank: int
    dicom: str
    patient: str
    order: float
    split: str


class DiffVQA:
    """Medical-Diff-VQA with the images of MIMIC-CXR-JPG."""

    name = "diff-vqa"
    license = LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": license,
        "needs": "`root` with mimic_pair_questions.csv and mimic_all.csv; `images`, the folder of MIMIC-CXR-JPG",
        "cost": "rows are read one by one; all questions are kept in memory",
    }

    def __init__(
        self, *, root: Path | None = None, images: Path | None = None, splits: Literal["own", "mimic"] = "own"
    ) -> None:
        """`splits` "mimic" takes MIMIC-CXR's own split of the study, for a policy that learns from its reports too."""
        self.root, self.images, self.splits = root, images, splits

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """The questions of each study and of each pair of studies, in the order of the table; no image is opened."""
        root = need_root(self.root, self.name, f"{_PAIRS} and {_STUDIES}")
        pairs, table = (find_file([root], [name], self.name) for name in (_PAIRS, _STUDIES))
        images = files_folder(self.images or root, self.name)
        exams, dropped = _read_exams(table)
        findings = _read_findings(table.parent / _FINDINGS)
        found: dict[tuple[str, str, str], dict[str, Draft]] = {}
        shared: dict[str, str] = {}  # one copy of texts that come up again and again
        for row in read_columns(
            pairs, ("study_id", "ref_id", "question_type", "question", "answer", "split"), self.name
        ):
            made = self._place(row, exams)
            if isinstance(made, str):
                dropped[made] += 1
                continue
            said = [shared.setdefault(text, text) for text in (one_line(row[3]) or "", one_line(row[4]) or "")]
            draft = _draft(row[2], made[2], said, findings.get(made[1], ()))
            drafts = found.setdefault(made, {})
            first = drafts.setdefault(draft.name, draft)
            if first is not draft:
                dropped["duplicate_row" if first.answers == draft.answers else "contradicts_an_earlier_row"] += 1
        items = [_item(images, key, exams, tuple(drafts.values())) for key, drafts in found.items()]
        items, apart = patients_apart(items)
        return items, counts(dropped.items(), apart.items())

    def _place(self, row: Sequence[str], exams: dict[str, _Exam]) -> tuple[str, str, str] | str:
        """Split, study and reference study ("" where one image is asked about) of a row, or why it is left out."""
        study, reference, kind, question, answer, split = row
        main, other = number(study), number(reference)
        if main is None or one_line(question) is None or one_line(answer) is None:
            return "malformed_row"
        if kind not in _TYPES:
            return "unknown_question_type"
        if main not in exams:
            return "no_frontal_image"
        where = SPLITS.get((split if self.splits == "own" else exams[main].split).strip())
        if where is None:
            return "no_official_split"
        if kind != "difference":
            return where, main, ""
        if other is None:
            return "malformed_row"
        if other not in exams:
            return "no_frontal_image"
        if exams[other].patient != exams[main].patient:
            return "reference_of_another_patient"
        return (where, main, other) if exams[other].order < exams[main].order else "reference_is_not_earlier"


def _draft(kind: str, reference: str, said: Sequence[str], findings: tuple[Evidence, ...]) -> Draft:
    """The question of a row of that type, about the study alone or about what is new since the reference study."""
    text, answer = said
    told = tuple(dict.fromkeys((*findings, *evidence_of(kind, text, answer))))
    form, options = _formed(kind, text, answer)
    answers = tuple(dict.fromkeys(atoms(answer))) if form == "query" else (plain(answer) if options else answer,)
    return Draft(
        f"{reference or kind}:{text}",
        task="difference" if reference else "vqa",
        part=kind,
        answer_type=form,
        text=text,
        options=options,
        answers=answers,
        kind="compare" if reference else "basic",
        evidence=(*told, Evidence("study", f"s{reference}")) if reference else told,
    )


def _formed(kind: str, text: str, answer: str) -> tuple[AnswerType, tuple[str, ...]]:
    """How a question is answered, and its options."""
    said = plain(answer)
    if said in YES_NO:
        return "verify", YES_NO
    for options in (_PROJECTIONS, _SIDES):
        asked = kind == "view" if options is _PROJECTIONS else plain(text).endswith("left side or right side")
        if asked and said in options:
            return "choose", options
    return ("query" if kind == "abnormality" else "open"), ()


def _read_exams(path: Path) -> tuple[dict[str, _Exam], Counter[str]]:
    """The studies that a frontal image is listed for, and how many rows are none."""
    exams: dict[str, _Exam] = {}
    dropped = Counter[str]()
    columns = ("study_id", "subject_id", "dicom_id", "view", "split", "study_order")
    for study, patient, dicom, view, split, order in read_columns(path, columns, DiffVQA.name):
        who, which, rank = number(study), number(patient), _VIEWS.get(view.strip().lower())
        if who is None or which is None or not is_dicom_id(dicom.strip()):
            dropped["malformed_study"] += 1
        elif rank is not None and (who not in exams or rank < exams[who].rank):
            exams[who] = _Exam(rank, dicom.strip(), which, _order(order), split.strip())
    return exams, dropped


def _order(text: str) -> float:
    """The place of an exam among those of its patient; one that is not told is before none and after none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _read_findings(path: Path) -> dict[str, tuple[Evidence, ...]]:
    """The findings that are there, and those that are said not to be, by study; empty where the file is missing."""
    found: dict[str, tuple[Evidence, ...]] = {}
    shared: dict[Evidence, Evidence] = {}
    for row in json_rows(path, DiffVQA.name) if path.is_file() else ():
        study, there, absent = number(field(row, "study_id")), field(row, "entity"), field(row, "no_entity")
        if study is None or not isinstance(there, dict) or not isinstance(absent, list | None):
            continue
        labels = [(one_line(name), True) for name in there] + [(one_line(name), False) for name in absent or ()]
        told = [Evidence("label", name, present=present) for name, present in labels if name]
        found[study] = tuple(shared.setdefault(each, each) for each in dict.fromkeys(told))
    return found


def _item(images: Path, key: tuple[str, str, str], exams: dict[str, _Exam], drafts: tuple[Draft, ...]) -> QuestionItem:
    split, study, reference = key
    patient = exams[study].patient
    pictures = [Picture(jpeg(images, patient, study, exams[study].dicom), "frontal", top=str(images))]
    if reference:
        earlier = jpeg(images, patient, reference, exams[reference].dicom)
        pictures.append(Picture(earlier, "frontal", "prior", str(images)))
    return QuestionItem(f"s{study}", patient, split, tuple(pictures), drafts)
