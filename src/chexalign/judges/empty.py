"""What a judge says of texts without words, before its model sees them."""

from __future__ import annotations

from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.normalize import count_words


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
