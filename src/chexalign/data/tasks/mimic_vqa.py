"""MIMIC-Ext-MIMIC-CXR-VQA: questions by 48 templates about findings in frontal images of MIMIC-CXR-JPG.

    ROOT/MIMIC-Ext-MIMIC-CXR-VQA/dataset/train.json, valid.json, test.json      (or any part of that path is the root)
    IMAGES/files/p10/p10000032/s50414267/DICOMID.jpg        MIMIC-CXR-JPG, named by `images`

A row has subject_id, study_id, image_id, question, content_type, semantic_type (verify, choose, query),
template_program, template_arguments and answer, a list that may be empty; the copy on GitHub has no answers. The
answers "f" and "m" are written out. What is one of two by nature, view and sex, is asked as a choice.
A choice that both of its options are right for, or none, is asked as a query: one of two cannot answer it.
Source: Bae et al. 2023, PhysioNet; credentialed data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from chexalign.data.answers import YES_NO
from chexalign.data.layout import find_file, need_root
from chexalign.data.loose import field, json_rows, number, one_line, texts
from chexalign.data.mimic_images import LICENSE, files_folder, is_dicom_id, jpeg
from chexalign.data.questions import TEST, TRAIN, VALIDATION, Draft, Picture, QuestionItem
from chexalign.data.tasks.held_out import SPLITS, counts, patients_apart
from chexalign.data.tasks.mimic_vqa_evidence import evidence_of
from chexalign.types import AnswerType

_FILES = {TRAIN: "train.json", VALIDATION: "valid.json", TEST: "test.json"}
_FOLDERS = ("MIMIC-Ext-MIMIC-CXR-VQA/dataset", "mimiccxrvqa/dataset", "dataset", ".")  # the second is GitHub's
_SEXES = {"f": "female", "m": "male"}
_OUTSIDE = "answer_outside_options"
_FIXED = {"gender": tuple(_SEXES.values()), "plane": ("ap", "pa")}  # options that the arguments do not name

_Arguments = Mapping[str, tuple[str, ...]]


class MimicVQA:
    """MIMIC-Ext-MIMIC-CXR-VQA with the images of MIMIC-CXR-JPG, in the official splits."""

    name = "mimic-vqa"
    license = LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": license,
        "needs": "`root` with train.json, valid.json and test.json; `images`, the folder of MIMIC-CXR-JPG",
        "cost": "files are read row by row; all questions are kept in memory",
    }

    def __init__(self, *, root: Path | None = None, images: Path | None = None) -> None:
        self.root, self.images = root, images

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """The questions of each image, in the order of the files; no image is opened."""
        root = need_root(self.root, self.name, ", ".join(_FILES.values()))
        folders = [root / name for name in _FOLDERS if (root / name).is_dir()]
        paths = {split: find_file(folders, [file], self.name) for split, file in _FILES.items()}
        images = files_folder(self.images or root, self.name)
        top = str(images)
        dropped = Counter[str]()
        found: dict[tuple[str, str, str, str], dict[str, Draft]] = {}
        for split, path in paths.items():
            for row in json_rows(path, self.name):
                ids = _ids(row)
                made = "malformed_row" if ids is None else _draft(row, split)
                if ids is None or isinstance(made, str):
                    dropped[str(made)] += 1
                    continue
                drafts = found.setdefault((split, *ids), {})
                if made.name in drafts:
                    dropped["duplicate_id"] += 1
                drafts.setdefault(made.name, made)
        items = [
            QuestionItem(
                f"s{study}",
                patient,
                split,
                (Picture(jpeg(images, patient, study, dicom), "frontal", top=top),),
                tuple(drafts.values()),
            )
            for (split, patient, study, dicom), drafts in found.items()
        ]
        items, apart = patients_apart(items)
        return items, counts(dropped.items(), apart.items())


def _ids(row: Any) -> tuple[str, str, str] | None:
    """Patient, study and DICOM id of a row, fit to be parts of a path."""
    patient, study, dicom = (
        number(field(row, "subject_id")),
        number(field(row, "study_id")),
        one_line(field(row, "image_id")),
    )
    return (patient, study, dicom) if patient and study and dicom and is_dicom_id(dicom) else None


def _draft(row: Mapping[str, Any], split: str) -> Draft | str:
    """The question of a row, or why there is none."""
    text, index, arguments = one_line(row.get("question")), number(row.get("idx")), _arguments(row)
    if text is None or index is None or arguments is None:
        return "malformed_row"
    if "answer" not in row:
        return "answer_missing"
    said = texts(row["answer"])
    if said is None:
        return "malformed_answer"
    if SPLITS.get(one_line(row.get("split")) or split) != split:
        return "split_of_another_file"
    about = one_line(row.get("content_type")) or "other"
    answers = tuple(dict.fromkeys(answer.lower() for answer in said))
    if about == "gender":
        answers = tuple(_SEXES.get(answer, answer) for answer in answers)
    formed = _formed(one_line(row.get("semantic_type")), about, arguments, answers)
    if isinstance(formed, str):
        return formed
    kind, options = formed
    return Draft(
        f"{split}:{index}",
        task="vqa",
        part=about,
        answer_type=kind,
        text=text,
        options=options,
        answers=answers,
        evidence=tuple(evidence_of(one_line(row.get("template_program")), arguments, answers)),
    )


def _formed(
    word: str | None, about: str, arguments: _Arguments, answers: Sequence[str]
) -> tuple[AnswerType, tuple[str, ...]] | str:
    """How a question is answered and its options, or what is wrong with its answers."""
    if word == "verify":
        return ("verify", YES_NO) if answers in (("yes",), ("no",)) else _OUTSIDE
    if word not in ("choose", "query"):
        return "unknown_semantic_type"
    options = _FIXED.get(about)
    if options is None and word == "query":
        return "query", ()
    options = options or next((values for values in _pairs(arguments) if set(answers) <= set(values)), ())
    if not options or not set(answers) <= set(options):
        return _OUTSIDE
    return ("choose" if len(answers) == 1 else "query"), options


def _pairs(arguments: _Arguments) -> list[tuple[str, ...]]:
    """The arguments that offer something: findings before places."""
    return [values for kind in ("attribute", "object") if len(values := arguments.get(kind, ())) > 1]


def _arguments(row: Mapping[str, Any]) -> _Arguments | None:
    """The arguments of a template by kind, those of a kind in order; None where they are malformed."""
    kinds = row.get("template_arguments")
    if not isinstance(kinds, dict):
        return None
    found = {}
    for kind, values in kinds.items():
        if not isinstance(values, dict):
            return None
        named = texts([value for _, value in sorted(values.items())])
        if named is None:
            return None
        found[kind] = tuple(dict.fromkeys(value.lower() for value in named))
    return found
