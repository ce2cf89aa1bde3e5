"""Regions that are shown instead of told: the image of a collection with a mark where a box is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from chexalign import ids
from chexalign.data.base import DropStudyError
from chexalign.data.drawn import Drawn
from chexalign.data.marks import MARKS, Mark, marked
from chexalign.data.pixels import gray_png
from chexalign.data.questions import REGION, Draft, Picture, PixelBox, QuestionItem, picture_ref
from chexalign.types import Role, View

Marking = Literal["words", "box", "arrow", "contour", "any"]  # any: one of the three, as the question's name decides

_WORDS: dict[Mark, str] = {
    "box": "inside the drawn box",
    "arrow": "where the arrow points",
    "contour": "inside the drawn outline",
}


@dataclass(frozen=True, slots=True)
class MarkedPicture:
    """An image of a collection with a mark around one box, or pointing at it."""

    picture: Picture
    box: PixelBox
    mark: Mark

    @property
    def view(self) -> View:
        """The view of the image."""
        return self.picture.view

    @property
    def role(self) -> Role:
        """The role of the image."""
        return self.picture.role

    def draw(self, images: Path) -> Drawn:
        """The image in gray, at its own size; the box is its evidence. Cost: decoding and writing one image.

        Raises: DropStudyError as `picture_ref` does, and box_outside_the_image.
        """
        import numpy as np
        from PIL import Image

        ref = picture_ref(self.picture, images)
        evidence = self.box.evidence([ref] * (self.box.image + 1))
        left, top, right, bottom = evidence.box
        width, height = ref.width_px, ref.height_px
        try:
            with Image.open(images.parent / ref.path) as image:
                shown = marked(image, (left * width, top * height, right * width, bottom * height), self.mark)
        except (OSError, SyntaxError, ValueError):  # damage that shows when it is decoded
            raise DropStudyError("image_unreadable") from None
        return Drawn(gray_png(np.asarray(shown)), height, width, (evidence,), synthetic=False)


def mark_regions(items: Sequence[QuestionItem], marking: Marking) -> list[QuestionItem]:
    """The items, with an item and a marked image of its own for each question whose text tells where its first box is.

    With "words" they are as they were. Questions about several images are left alone.
    """
    return list(items) if marking == "words" else [one for item in items for one in _parted(item, marking)]


def _parted(item: QuestionItem, marking: Marking) -> Iterator[QuestionItem]:
    picture = item.pictures[0] if len(item.pictures) == 1 else None
    others = [draft for draft in item.drafts if not (draft.boxes and REGION in draft.text)]
    if not isinstance(picture, Picture) or len(others) == len(item.drafts):
        yield item
        return
    if others:
        yield replace(item, drafts=tuple(others))
    for draft in item.drafts:
        if draft.boxes and REGION in draft.text:
            mark = _mark(item, draft, marking)
            shown = MarkedPicture(picture, draft.boxes[0], mark)
            text, name = draft.text.replace(REGION, _WORDS[mark]), f"{draft.name}/{mark}"
            yield replace(
                item, pictures=(shown,), drafts=(replace(draft, name=name, text=text, boxes=draft.boxes[1:]),)
            )


def _mark(item: QuestionItem, draft: Draft, marking: Marking) -> Mark:
    if marking in MARKS:
        return marking
    return MARKS[ids.keyed_seed("mark", item.study, draft.task, draft.name) % len(MARKS)]
