"""Rad-ReStruct: structured reports of OpenI's images, asked question by question from the general to the detail.

    ROOT/data/radrestruct/train_qa_pairs/1.json ..., val_qa_pairs/, test_qa_pairs/      (or ROOT/train_qa_pairs/ ...)
    ROOT/data/radrestruct/id_to_img_mapping_frontal_reports.json
    ROOT/data/radrestruct/images/CXR1_1_IM-0001-4001.png ...        OpenI's images; or under `images`

A file holds the questions of one report: [question, [answers], history, {answer_type, options, path}], where history
is [[question, [answers]], ...], the earlier questions that this one goes on from, with their right answers.
The official splits are kept. CheXagent's training data used the test split for validation; nothing here does.
Source: Pellegrini et al. 2023, github.com/ChantalMP/Rad-ReStruct.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

from chexalign.data.answers import YES_NO, plain
from chexalign.data.layout import find_file, need_root, not_there
from chexalign.data.loose import field, one_line, read_json, texts
from chexalign.data.openi_files import IMAGES, image_files, image_key
from chexalign.data.questions import TEST, TRAIN, VALIDATION, Draft, Picture, QuestionItem
from chexalign.data.tasks.held_out import counts, patients_apart
from chexalign.errors import UserError
from chexalign.types import AnswerType, Evidence

_FOLDERS = {TRAIN: "train_qa_pairs", VALIDATION: "val_qa_pairs", TEST: "test_qa_pairs"}
_MAPPING = "id_to_img_mapping_frontal_reports.json"


class RadReStruct:
    """Rad-ReStruct's questions about the frontal images of OpenI's reports, in the official splits."""

    name = "rad-restruct"
    license = "CC BY-NC-ND 4.0 (OpenI, of which the answers are made)"
    describe: ClassVar[dict[str, str]] = {
        "license": license,
        "needs": "`root`, a clone of ChantalMP/Rad-ReStruct; OpenI's PNG images in it or under `images`",
        "cost": "some thousand small files are read",
    }

    def __init__(
        self, *, root: Path | None = None, images: Path | None = None, history: Literal["given", "none"] = "given"
    ) -> None:
        """`history` "none" leaves out what cannot be understood without the answers to earlier questions."""
        self.root, self.images, self.history = root, images, history

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """The questions of each report, reports in the order of their numbers; no image is opened."""
        root = need_root(self.root, self.name, f"data/radrestruct with {', '.join(_FOLDERS.values())}")
        path = find_file([root / "data" / "radrestruct", root], [_MAPPING], self.name)
        mapping = read_json(path, self.name)
        if not isinstance(mapping, dict):
            raise not_there(path.parent, f"{_MAPPING} that maps reports to images", self.name)
        folders = [path.parent / "images", *(root / name for name in IMAGES)]
        files = image_files([self.images] if self.images else folders, self.name)
        dropped = Counter[str]()
        items = []
        for split, folder in _FOLDERS.items():
            if not (path.parent / folder).is_dir():
                raise not_there(path.parent, folder, self.name)
            for report in sorted((path.parent / folder).glob("*.json"), key=lambda p: (len(p.stem), p.stem)):
                names = texts(mapping.get(report.stem)) or ()
                shown = [files[key] for key in map(image_key, names) if key in files]
                pictures = tuple(Picture(str(file), "frontal", top=str(file.parent)) for file in shown)
                drafts = self._drafts(report, dropped)
                if pictures and drafts:
                    study = f"CXR{report.stem}"
                    items.append(QuestionItem(study, study, split, pictures, tuple(drafts)))
                elif drafts:
                    dropped["image_missing" if names else "no_frontal_image"] += len(drafts)
        items, apart = patients_apart(items)
        return items, counts(dropped.items(), apart.items())

    def _drafts(self, report: Path, dropped: Counter[str]) -> list[Draft]:
        try:
            rows = read_json(report, self.name)
        except UserError:
            dropped["unreadable_file"] += 1
            return []
        if not isinstance(rows, list):
            dropped["malformed_file"] += 1
            return []
        drafts: list[Draft] = []
        asked: set[str] = set()  # paths; a second case of a finding has the path of the first
        for place, row in enumerate(rows):
            made = self._draft(row, place, asked)
            if isinstance(made, str):
                dropped[made] += 1
            else:
                drafts.append(made)
        return drafts

    def _draft(self, row: Any, place: int, asked: set[str]) -> Draft | str:
        """The question of a row, or why there is none."""
        text, answers, history, info = row if isinstance(row, list) and len(row) == 4 else (None,) * 4
        text, answers, before = one_line(text), texts(answers), _history(history)
        options, path = texts(field(info, "options")), one_line(field(info, "path"))
        if text is None or answers is None or before is None or not options or path is None:
            return "malformed_row"
        if before and self.history == "none":
            return "needs_earlier_answers"
        if len({plain(option) for option in options}) < max(2, len(options)):
            return "duplicate_options" if len(options) > 1 else "too_few_options"
        by_text = {plain(option): option for option in options}
        right = tuple(dict.fromkeys(by_text.get(plain(answer), "") for answer in answers))
        if not right:
            return "no_answer"
        if "" in right:
            return "answer_outside_options"
        kind = _answer_type(one_line(field(info, "answer_type")), options)
        if kind is None:
            return "unknown_answer_type"
        if kind != "query" and len(right) > 1:
            return "several_answers_to_one"
        if kind == "verify":
            options, right = YES_NO, (plain(right[0]),)
        says = kind == "verify" and path not in asked  # of whether the finding is there
        evidence = (Evidence("code", path, present=right == ("yes",)),) if says else ()
        asked.add(path)
        return Draft(
            f"{place}:{path}",
            task="vqa",
            part=path.partition("_")[0],
            answer_type=kind,
            text=f"{before}Q: {text}" if before else text,
            options=options,
            answers=right,
            evidence=evidence,
        )


def _answer_type(word: str | None, options: tuple[str, ...]) -> AnswerType | None:
    if word == "multi_choice":
        return "query"
    if word != "single_choice":
        return None
    return "verify" if {plain(option) for option in options} == set(YES_NO) else "choose"


def _history(value: Any) -> str | None:
    """The earlier questions and answers, a line each, as CheXagent was asked; None where they are malformed."""
    lines = []
    for pair in value if isinstance(value, list) else [None]:
        text, answers = (
            (one_line(pair[0]), texts(pair[1])) if isinstance(pair, list) and len(pair) == 2 else (None,) * 2
        )
        if text is None or answers is None:
            return None
        lines.append(f"Q: {text} A: {', '.join(answers)}\n")
    return "".join(lines)
