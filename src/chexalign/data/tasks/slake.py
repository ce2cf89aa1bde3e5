"""SLAKE: questions about medical images in English and Chinese; the English ones about chest X-rays.

    ROOT/train.json, ROOT/validate.json (validation.json in the copy on Hugging Face), ROOT/test.json
    ROOT/imgs/xmlab1/source.jpg ...     or under `images`

The X-rays of the collection are those of NIH ChestX-ray8, frontal ones. A closed question is answered by yes or no,
but for some that offer organs ("... lung, liver or heart?"), which are read as open ones.
Source: Liu et al. 2021, med-vqa.com/slake.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

from chexalign.data.answers import YES_NO, plain
from chexalign.data.layout import find_file, inside, need_root
from chexalign.data.loose import field, json_rows, number, one_line
from chexalign.data.questions import TEST, TRAIN, VALIDATION, Draft, Picture, QuestionItem
from chexalign.data.tasks.held_out import counts, patients_apart

_FILES = {TRAIN: ("train.json",), VALIDATION: ("validate.json", "validation.json"), TEST: ("test.json",)}
_CHEST = ("lung", "chest", "heart")  # beginnings of the locations of chest images


class Slake:
    """SLAKE's English questions about chest X-rays, in the official splits."""

    name = "slake"
    license = "CC BY 4.0"
    describe: ClassVar[dict[str, str]] = {
        "license": license,
        "needs": "`root` with train.json, validate.json, test.json and imgs",
        "cost": "seconds",
    }

    def __init__(
        self,
        *,
        root: Path | None = None,
        images: Path | None = None,
        questions: Literal["all", "yes_no"] = "all",
        language: str = "en",
    ) -> None:
        """`questions` can leave out all but the closed ones that are answered by yes or no."""
        self.root, self.images, self.questions, self.language = root, images, questions, language

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """The questions of each image, in the order of the files."""
        root = need_root(self.root, self.name, "train.json, validate.json, test.json and imgs")
        folders = [folder for folder in (root / "Slake1.0", root) if folder.is_dir()]
        dropped = Counter[str]()
        found: dict[tuple[str, str, str], list[Draft]] = {}
        seen: set[str] = set()
        for split, names in _FILES.items():
            path = find_file(folders, names, self.name)
            images = self.images or path.parent / "imgs"
            for row in json_rows(path, self.name):
                made = self._draft(row, images, seen)
                if isinstance(made, str):
                    dropped[made] += 1
                else:
                    image, draft = made
                    found.setdefault((split, _name(image, images), str(image)), []).append(draft)
        items = [
            QuestionItem(name, name, split, (Picture(image, "frontal"),), tuple(drafts))
            for (split, name, image), drafts in found.items()
        ]
        items, apart = patients_apart(items)
        return items, counts(dropped.items(), apart.items())

    def _draft(self, row: Any, images: Path, seen: set[str]) -> tuple[Path, Draft] | str:
        """The image and the question of a row, or why there is none."""
        qid, text, answer = number(field(row, "qid")), one_line(field(row, "question")), _said(field(row, "answer"))
        name = one_line(field(row, "img_name"))
        if qid is None or text is None or answer is None or name is None:
            return "malformed_row"
        if one_line(row.get("q_lang")) != self.language:
            return "other_language"
        place, modality = one_line(row.get("location")) or "", one_line(row.get("modality")) or ""
        if modality.lower().replace("-", "") != "xray" or not place.lower().startswith(_CHEST):
            return "not_a_chest_x_ray"
        closed = one_line(row.get("answer_type")) == "CLOSED" and plain(answer) in YES_NO
        if self.questions == "yes_no" and not closed:
            return "not_yes_or_no"
        path = inside(images, name)
        if path is None:
            return "image_outside_the_folder"
        if qid in seen:
            return "duplicate_id"
        seen.add(qid)
        return path, Draft(
            qid,
            task="vqa",
            part=(one_line(row.get("content_type")) or "other").lower(),
            answer_type="verify" if closed else "open",
            text=text,
            options=YES_NO if closed else (),
            answers=(plain(answer) if closed else answer,),
        )


def _said(answer: Any) -> str | None:
    """An answer in words; counts are now and then written as numbers."""
    return one_line(answer) or number(answer)


def _name(image: Path, images: Path) -> str:
    """What tells an image from the others: its folder, as xmlab1, or its file's name where it has none."""
    below = image.relative_to(os.path.normpath(images))
    return below.parts[0] if len(below.parts) > 1 else below.stem
