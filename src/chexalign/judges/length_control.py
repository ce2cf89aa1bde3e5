"""Length control: any judge's score, divided by how much longer the candidate is than the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from chexalign.judges.base import Judge, Judgement, TextPair
from chexalign.judges.normalize import count_words


class LengthControlledJudge:
    """The score of `of`, divided per report by max(words(candidate) / words(reference), 1).

    So a candidate that is not longer than the reference keeps its score, and one of twice the length gets half of it.
    Parts keep those of `of`, its score as `raw` and the divisor as `length_ratio`. What `of` does not score
    stays unscored; a reference without words is an error.

    Source: CheXalign (ACL 2025), LC-GREEN: per report, then averaged.
    """

    describe: ClassVar[dict[str, str]] = {
        "license": "that of the judge inside",
        "needs": "`of`: the judge inside",
        "cost": "that of the judge inside",
    }

    def __init__(self, *, of: Judge) -> None:
        self._of = of
        self.name = f"lc-{of.name}"
        self.version = f"1-{of.version}"

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """One judgement per pair, in order."""
        return [_divide(pair, raw) for pair, raw in zip(pairs, self._of.score(pairs), strict=True)]


def _divide(pair: TextPair, raw: Judgement) -> Judgement:
    if raw.value is None:
        return raw
    n_reference = count_words(pair.reference)
    if not n_reference:
        return Judgement(None, raw.parts, status="error", reason="the reference has no words")
    ratio = max(count_words(pair.candidate) / n_reference, 1.0)
    return Judgement(raw.value / ratio, {**raw.parts, "raw": raw.value, "length_ratio": ratio}, notes=raw.notes)
