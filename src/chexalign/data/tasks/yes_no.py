"""Collections with one question per image, which is answered yes or no."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chexalign.data.questions import QuestionItem
from chexalign.data.tasks.balance import LEFT_OUT, equal_numbers
from chexalign.data.tasks.wordings import NO, YES


def as_many_yes_as_no(items: Sequence[QuestionItem], dropped: Counter[str]) -> list[QuestionItem]:
    """In each split as many items of either answer as the rarer one has; the others are counted in `dropped`."""
    kept = equal_numbers(
        items,
        name=lambda item: item.study,
        group=lambda item: item.split,
        answer=lambda item: item.drafts[0].answers[0],
        answers=(YES, NO),
    )
    dropped[LEFT_OUT] += len(items) - len(kept)
    return kept
