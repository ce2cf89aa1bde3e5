"""What is done with two texts before a judge's model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from chexalign.errors import UserError
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.normalize import clean, count_words

Preparation = Literal["clean", "raw"]


def check_preparation(judge: str, texts: str) -> None:
    """Raises: UserError when it is neither of the two."""
    if texts not in ("clean", "raw"):
        raise UserError(
            f"judge {judge}: texts {texts}",
            "Texts are cleaned first, as in CheXalign, or left as they are.",
            "Give texts: clean, or texts: raw.",
        )


def prepared(pairs: Sequence[TextPair], texts: Preparation) -> list[TextPair]:
    """The pairs with cleaned texts, or as they are."""
    if texts == "raw":
        return list(pairs)
    return [TextPair(clean(pair.candidate), clean(pair.reference)) for pair in pairs]


def without_words(pair: TextPair, *, of_empty: float | None) -> Judgement | None:
    """The judgement of a pair with a text that has no words; None for any other.

    An empty reference is an error. An empty candidate has the value `of_empty`; it is an error where that is None, for
    scales on which no value is surely the lowest.
    """
    if not count_words(pair.reference):
        return Judgement(None, status="error", reason="the reference has no words")
    if count_words(pair.candidate):
        return None
    if of_empty is None:
        return Judgement(None, status="error", reason="the candidate has no words")
    return Judgement(of_empty)
