"""Judges made of other judges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from chexalign import ids
from chexalign.errors import UserError
from chexalign.judges.base import Judge, Judgement, TextPair


class SumJudge:
    """The weighted sum of the scores of several judges, as they are: scales differ, and the weights settle that.

    Parts hold each judge's value under its name and its parts under `name.part`; notes likewise. A text that one
    of them does not score is unscored, with that one's status and reason.
    """

    describe: ClassVar[dict[str, str]] = {
        "license": "those of the judges inside",
        "needs": "`of`: two judges or more, and `weights`, one for each",
        "cost": "those of the judges inside together",
    }

    def __init__(self, *, of: Sequence[Judge], weights: Sequence[float]) -> None:
        """A weight may be negative, for a judge of which less is better.

        Raises: UserError when there is not one finite weight per judge, or no weight but 0, or two have one name.
        """
        if len({judge.name for judge in of}) < len(of):
            raise UserError(
                f"judge sum of {', '.join(judge.name for judge in of)}",
                "two of the judges have one name, and the parts of their scores go by names",
                "give one of them a label, as in {name: llm, label: strict}",
            )
        numbers = [w for w in weights if isinstance(w, int | float) and math.isfinite(w)]
        if len(numbers) != len(weights) or len(weights) != len(of) or not any(numbers):
            raise UserError(
                f"judge sum of {len(of)} judges with the weights {list(weights)}",
                "each judge has one weight, a finite number, and not all are 0",
                f"give options: {{weights: [{', '.join(['1.0'] * len(of))}]}} or others",
            )
        self._of, self._weights = list(of), [float(w) for w in weights]
        self.name = f"sum-{'-and-'.join(judge.name for judge in of)}"
        self.version = f"1-{ids.digest(self._weights, [judge.version for judge in of], length=8)}"

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """One judgement per pair, in order."""
        each = [judge.score(pairs) for judge in self._of]
        return [self._sum(row) for row in zip(*each, strict=True)]

    def _sum(self, row: Sequence[Judgement]) -> Judgement:
        parts: dict[str, float] = {}
        notes: dict[str, str] = {}
        values: list[float] = []
        for judge, judged in zip(self._of, row, strict=True):
            notes |= {f"{judge.name}.{k}": note for k, note in judged.notes.items()}
            if judged.value is None:
                return Judgement(None, parts, judged.status, f"{judge.name}: {judged.reason}", notes)
            parts |= {judge.name: judged.value, **{f"{judge.name}.{k}": part for k, part in judged.parts.items()}}
            values.append(judged.value)
        return Judgement(
            math.fsum(w * value for w, value in zip(self._weights, values, strict=True)), parts, notes=notes
        )


class LabeledJudge:
    """A judge under a name with a label in it, which tells it from another of the same name."""

    def __init__(self, judge: Judge, label: str) -> None:
        self._judge, self._label = judge, label

    @property
    def name(self) -> str:
        """The judge's own name and the label: "llm-strict"."""
        return f"{self._judge.name}-{self._label}"

    @property
    def version(self) -> str:
        """The version of the judge inside."""
        return self._judge.version

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """What the judge inside says."""
        return self._judge.score(pairs)
