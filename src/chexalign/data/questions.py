"""What a collection of questions is: items that share images, and the stage that turns them into question rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from chexalign import ids
from chexalign.data.base import SPLIT_SEED, DropStudyError
from chexalign.data.drawn import Drawing, write_drawn
from chexalign.data.images import image_ref
from chexalign.data.layout import kept_in
from chexalign.spread import PartResult
from chexalign.types import AnswerType, Evidence, ImageRef, Question, QuestionKind, Role, View

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# Where a collection has no splits of its own. The test comes first, as where studies are shared out: patients whose
# questions test a policy are then not among those whose reports it learned from.
SHARES = {TEST: 0.15, VALIDATION: 0.15, TRAIN: 0.7}
T = TypeVar("T")

REGION = "{region}"  # in the text of a draft: its first box, in words


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file that is known of but not opened yet."""

    path: str
    view: View
    role: Role = "current"
    top: str | None = None  # where one is named, a link in the place of the file must not lead out of this folder


@dataclass(frozen=True, slots=True)
class PixelBox:
    """A labeled box in pixels; it becomes evidence, in fractions, when the image is read."""

    text: str
    bounds: tuple[float, float, float, float]  # left, top, right, bottom
    frame: tuple[int, int] | None = None  # width and height that the pixels count in; None: those of the image
    image: int = 0

    def evidence(self, images: Sequence[ImageRef]) -> Evidence:
        """The part of the box that is inside the image.

        Raises: DropStudyError: box_outside_the_image.
        """
        shown = images[self.image]
        width, height = self.frame or (shown.width_px, shown.height_px)
        left, top, right, bottom = (
            round(min(max(at / side, 0.0), 1.0), 6)
            for at, side in zip(self.bounds, (width, height, width, height), strict=True)
        )
        if not (left < right and top < bottom):  # also where a bound is no number
            raise DropStudyError("box_outside_the_image")
        return Evidence("box", self.text, image=self.image, box=(left, top, right, bottom))


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
    boxes: tuple[PixelBox, ...] = ()  # evidence too; `REGION` in the text stands for where the first one is


@dataclass(frozen=True, slots=True)
class QuestionItem:
    """Questions about the same images."""

    study: str
    patient: str
    split: str  # train, validation or test
    pictures: tuple[Picture | Drawing, ...]
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
    return list(shares)[-1]


def region_words(box: Sequence[float]) -> str:
    """Where a box is, in whole percents of the image that hold all of it.

    >>> region_words((0.101, 0.2, 0.305, 0.5))
    "from 10% to 31% of the image's width (from the left) and from 20% to 50% of its height (from the top)"
    """
    percents = [round(at * 100, 4) for at in box]  # rounded, so that 0.29 * 100 is 29
    (left, top), (right, bottom) = map(math.floor, percents[:2]), map(math.ceil, percents[2:])
    across = f"from {left}% to {right}% of the image's width (from the left)"
    return f"{across} and from {top}% to {bottom}% of its height (from the top)"


def picture_ref(picture: Picture, images: Path) -> ImageRef:
    """The reference to an image of a collection; one that has to be decoded for it is kept in the folder `images`.

    Raises: DropStudyError as `image_ref` does, and image_outside_the_folder.
    """
    path = Path(picture.path)
    if picture.top is not None:
        path = kept_in(Path(picture.top), path, "image")
    return image_ref(path, picture.view, role=picture.role, into=images)


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
                images, marks = self._images(item)
            except DropStudyError as e:
                dropped[str(e)] += len(item.drafts)
                continue
            for draft in item.drafts:
                try:
                    rows.append(self._question(item, draft, images, marks))
                except DropStudyError as e:
                    dropped[str(e)] += 1
                except ValueError:  # what the record refuses
                    dropped["contradictory_question"] += 1
        return PartResult(rows, dict(dropped))

    def _images(self, item: QuestionItem) -> tuple[tuple[ImageRef, ...], tuple[Evidence, ...]]:
        """The images of an item, and the boxes that were marked while they were drawn."""
        images: list[ImageRef] = []
        marks: list[Evidence] = []
        for at, picture in enumerate(item.pictures):
            if isinstance(picture, Picture):
                images.append(picture_ref(picture, self.images))
            else:
                drawn = picture.draw(self.images)
                marks += (replace(mark, image=at) for mark in drawn.marks)
                images.append(write_drawn(picture, drawn, self.images))
        return tuple(images), tuple(marks)

    def _question(
        self, item: QuestionItem, draft: Draft, images: tuple[ImageRef, ...], marks: tuple[Evidence, ...]
    ) -> Question:
        boxes = tuple(box.evidence(images) for box in draft.boxes)
        return Question(
            id=ids.digest("question", self.source.name, item.study, draft.task, draft.name),
            patient_id=item.patient,
            study_id=item.study,
            task=draft.task,
            part=draft.part,
            kind=draft.kind,
            answer_type=draft.answer_type,
            text=draft.text.replace(REGION, region_words(boxes[0].box)) if boxes else draft.text,
            options=draft.options,
            answers=draft.answers,
            images=images,
            split=item.split,
            source=self.source.name,
            license=self.source.license,
            rationale=draft.rationale,
            evidence=draft.evidence + boxes + marks,
        )


def spread_evenly(rows: Sequence[T], n: int | None) -> list[T]:
    """So many of the rows at equal distances, or all where none is named or there are no more.

    >>> spread_evenly("abcdef", 3)
    ['a', 'c', 'e']
    """
    return list(rows) if n is None or n >= len(rows) else [rows[i * len(rows) // n] for i in range(n)]
