"""View classification: AP, PA or lateral, as many questions of each in every split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from chexalign.data.questions import Picture, QuestionItem
from chexalign.data.tasks.balance import LEFT_OUT, equal_numbers
from chexalign.data.tasks.wordings import view

AP, PA, LATERAL = "AP", "PA", "lateral"
OPTIONS = (AP, PA, LATERAL)

_WORDS = {"AP": AP, "PA": PA, "LATERAL": LATERAL, "LL": LATERAL, "RL": LATERAL}


@dataclass(frozen=True, slots=True)
class Viewed:
    """An image whose view is one of the three."""

    name: str
    study: str
    patient: str
    split: str
    picture: Picture
    view: str  # AP, PA or lateral


def view_word(position: str) -> str | None:
    """AP, PA or lateral for what a collection calls them, None for anything else.

    >>> view_word("LL"), view_word("pa "), view_word("AP AXIAL")
    ('lateral', 'PA', None)
    """
    return _WORDS.get(position.strip().upper())


def ask(images: Sequence[Viewed]) -> tuple[list[QuestionItem], Counter[str]]:
    """An item per image, in their order, and how many were left out because a view is rarer than theirs."""
    kept = equal_numbers(
        images,
        name=lambda image: image.name,
        group=lambda image: image.split,
        answer=lambda image: image.view,
        answers=OPTIONS,
    )
    items = [
        QuestionItem(
            image.study,
            image.patient,
            image.split,
            (image.picture,),
            (view(image.name, OPTIONS, image.view),),
        )
        for image in kept
    ]
    return items, Counter({LEFT_OUT: len(images) - len(kept)})
