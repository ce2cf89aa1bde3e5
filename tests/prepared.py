"""Small folders of prepared tables: studies and questions with images that look like nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chexalign import atomic, ids
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.stage import StageKey, run_parts
from chexalign.store import Table
from chexalign.types import ImageRef, Question, Study, View

TEXTS = (
    "The lungs are clear. The heart is of normal size.",
    "There is a small left pleural effusion. No pneumothorax.",
    "The heart is mildly enlarged. No focal consolidation.",
    "Patchy opacity at the right base. No effusion.",
)


def picture(seed: int, side: int = 160) -> Image.Image:
    """A gray image of blurred noise that depends on the seed alone; two seeds look nothing alike."""
    coarse = np.random.default_rng(seed).integers(40, 200, (40, 40), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def image(root: Path, name: str, picture: Image.Image, view: View = "frontal", **save: Any) -> ImageRef:
    """The picture as a file under `root/images`, and the reference to it."""
    path = root / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **save)
    return ImageRef(f"images/{name}", ids.file_sha256(path), view, picture.height, picture.width)


def study(number: int, split: str, images: Sequence[ImageRef] = (), **other: Any) -> Study:
    """A study of a patient of its own."""
    told = {
        "id": f"study{number}",
        "patient_id": f"patient{number}",
        "images": tuple(images),
        "indication": "Cough.",
        "reference": f"{TEXTS[number % len(TEXTS)]} Study number {number}.",
        "impression": None,
        "codes": (),
        "split": split,
        "source": "made-up",
        "license": "none",
    }
    return Study(**{**told, **other})


def question(number: int, split: str, images: Sequence[ImageRef] = (), **other: Any) -> Question:
    """A question about the study of the same number."""
    told = {
        "id": f"question{number}",
        "patient_id": f"patient{number}",
        "study_id": f"study{number}",
        "task": "binary",
        "part": "effusion",
        "kind": "basic",
        "answer_type": "verify",
        "text": "Is there an effusion?",
        "options": ("yes", "no"),
        "answers": ("no",),
        "images": tuple(images),
        "split": split,
        "source": "made-up-questions",
        "license": "none",
    }
    return Question(**{**told, **other})


class _Given:
    """Rows that are there already, some per part."""

    def __init__(self, rows: Sequence[Any], per_part: int = 7) -> None:
        self.rows, self.per_part = rows, per_part

    def setup(self) -> None:
        pass

    def part(self, index: int) -> PartResult[Any]:
        return PartResult(self.rows[index * self.per_part : (index + 1) * self.per_part])


def write_table(table: Table[Any], rows: Sequence[Any], dropped: Mapping[str, int] | None = None) -> None:
    """The rows as a finished table."""
    worker = _Given(rows)
    key = StageKey(table.folder.name, {}, {"rows": ids.digest([repr(row) for row in rows])}, 0)
    run_parts(table, worker, key=key, n_parts=-(-len(rows) // worker.per_part), dropped_before=dropped)


def write_tables(
    root: Path, studies: Sequence[Study] = (), questions: Mapping[str, Sequence[Question]] | None = None
) -> Path:
    """A folder with finished tables."""
    folder = RunFolder(atomic.make_folder(root))
    if studies:
        write_table(folder.studies, studies)
    for name, rows in (questions or {}).items():
        write_table(folder.questions(name), rows)
    return root


def clean(root: Path, n: int = 24) -> list[Study]:
    """Studies whose splits share nothing: three in four are sft, the rest validation and test."""
    return [
        study(i, {0: "validation", 1: "test"}.get(i % 8, "sft"), [image(root, f"{i}.png", picture(i))])
        for i in range(n)
    ]
