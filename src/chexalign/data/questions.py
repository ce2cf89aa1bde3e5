"""What a collection of questions is: items that share images, and the stage that turns them into question rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chexalign import ids
from chexalign.data.base import SPLIT_SEED, DropStudyError
from chexalign.data.images import image_ref
from chexalign.spread import PartResult
from chexalign.types import AnswerType, Evidence, ImageRef, Question, QuestionKind, Role, View

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SHARES = {TRAIN: 0.7, VALIDATION: 0.15, TEST: 0.15}  # where a collection has no splits of its own


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file that is known of but not opened yet."""

    path: str
    view: View
    role: Role = "current"


@dataclass(frozen=True, slots=True)
class Draft:
    """A question without what it shares with the others of its item; the fields are those of `Question`."""

    name: str  # tells it from the others of its item, whatever their order
    task: str
    part: str
    answer_type: AnswerType
    text: str
    options: tuple[str, ...]
    answers: tuple[str, ...]
    kind: QuestionKind = "basic"
    rationale: str | None = None
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionItem:
    """Questions about the same images."""

    study: str
    patient: str
    split: str  # train, validation or test
    pictures: tuple[Picture, ...]
    drafts: tuple[Draft, ...]


class QuestionSource(Protocol):
    """Reads one collection of questions, or makes questions of its labels and boxes."""

    name: str
    license: str

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """All items in a fixed order, and how many questions were dropped for which reason; no image is opened."""
        ...


def share_of(patient: str, shares: Mapping[str, float] = SHARES) -> str:
    """The split of a patient, by the digest of the id alone, so that no patient is in two and growth moves none."""
    at = int(ids.digest("split", SPLIT_SEED, patient, length=8), 16) / 16**8
    for name, share in shares.items():
        at -= share
        if at < 0:
            return name
    return next(reversed(shares))


class QuestionsWorker:
    """Makes the questions of a fixed slice of items per part; each image is read once per item."""

    def __init__(self, source: QuestionSource, items: Sequence[QuestionItem], images: Path, *, part_size: int) -> None:
        self.source, self.items, self.images, self.part_size = source, items, images, part_size

    @property
    def n_parts(self) -> int:
        """How many parts the items fill."""
        return -(-len(self.items) // self.part_size)

    def setup(self) -> None:
        """Nothing to load."""

    def part(self, index: int) -> PartResult[Question]:
        """The questions of one slice, and why some are missing."""
        rows: list[Question] = []
        dropped = Counter[str]()
        for item in self.items[index * self.part_size : (index + 1) * self.part_size]:
            try:
                images = tuple(
                    image_ref(Path(picture.path), picture.view, role=picture.role) for picture in item.pictures
                )
            except DropStudyError as e:
                dropped[str(e)] += len(item.drafts)
                continue
            for draft in item.drafts:
                try:
                    rows.append(self._question(item, draft, images))
                except ValueError:  # what the record refuses
                    dropped["contradictory_question"] += 1
        return PartResult(rows, dict(dropped))

    def _question(self, item: QuestionItem, draft: Draft, images: tuple[ImageRef, ...]) -> Question:
        return Question(
            id=ids.digest("question", self.source.name, item.study, draft.task, draft.name),
            patient_id=item.patient,
            study_id=item.study,
            task=draft.task,
            part=draft.part,
            kind=draft.kind,
            answer_type=draft.answer_type,
            text=draft.text,
            options=draft.options,
            answers=draft.answers,
            images=images,
            split=item.split,
            source=self.source.name,
            license=self.source.license,
            rationale=draft.rationale,
            evidence=draft.evidence,
        )
