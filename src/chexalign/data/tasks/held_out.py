"""Splits of question collections: their owners' words for them, and no patient in two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from chexalign.data.questions import TEST, TRAIN, VALIDATION, QuestionItem

SPLITS = {TRAIN: TRAIN, TEST: TEST} | dict.fromkeys(("val", "valid", "validate", "validation"), VALIDATION)
_RANK = {TRAIN: 0, VALIDATION: 1, TEST: 2}


def patients_apart(items: Sequence[QuestionItem]) -> tuple[list[QuestionItem], Counter[str]]:
    """The items without those whose patient is held out in a later split too, and how many questions that costs."""
    highest: dict[str, int] = {}
    for item in items:
        highest[item.patient] = max(highest.get(item.patient, 0), _RANK[item.split])
    dropped = Counter[str]()
    kept = []
    for item in items:
        if _RANK[item.split] == highest[item.patient]:
            kept.append(item)
        else:
            dropped["patient_in_another_split"] += len(item.drafts)
    return kept, dropped


def counts(*found: Iterable[tuple[str, int]]) -> dict[str, int]:
    """How many were dropped for which reason, those of several counts together and none of zero."""
    total = Counter[str]()
    for pairs in found:
        for reason, n in pairs:
            total[reason] += n
    return dict(+total)
