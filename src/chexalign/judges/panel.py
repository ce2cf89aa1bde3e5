"""A panel of judges: each ranks the candidates of a prompt, and the ranks are averaged, whatever the judges' scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from chexalign import ids
from chexalign.errors import UserError
from chexalign.judges.base import Judge, Judgement, TextPair
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.types import Score


class PanelJudge:
    """The mean over several judges of a candidate's rank in its prompt: 1 above all others, 0 below, a tie counts half.

    Each judge has one vote, and only its order counts (Borda count). It is a view over the finished scores of its
    judges, see `PanelWorker`: a text by itself has no rank, so `score` refuses, and predictions are measured by the
    judges of the panel instead.

    Source: Borda 1781; averaged as in Dwork et al. 2001 (WWW), and not the order of least disagreement.
    """

    describe: ClassVar[dict[str, str]] = {
        "license": "those of the judges inside",
        "needs": "`of`: two judges or more",
        "cost": "those of the judges inside together",
    }

    def __init__(self, *, of: Sequence[Judge]) -> None:
        self.name = f"panel-{'-and-'.join(judge.name for judge in of)}"
        self.version = f"1-{ids.digest([judge.version for judge in of], length=8)}"

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """Raises: UserError always."""
        raise UserError(
            f"judge {self.name} was given texts without the others of their prompts.",
            "A panel ranks the candidates of one prompt, so it has nothing to say of a text by itself.",
            "Name it as the judge of an arm, and its judges one by one in evaluate.metrics.",
        )


@dataclass(slots=True)
class PanelWorker:
    """The scores of a panel, from the tables of its judges, in one part."""

    run: RunFolder
    label: str  # name@version of the panel
    judges: Sequence[str]  # folders of the judges' scores
    _scores: dict[str, dict[str, Score]] = field(default_factory=dict)

    def setup(self) -> None:
        """Reads the judges' scores."""
        self._scores = {name: {s.candidate_id: s for s in self.run.scores(name).iter_rows()} for name in self.judges}

    def part(self, index: int) -> PartResult[Score]:
        """A row per candidate, in the order of the candidates."""
        prompts: dict[str, list[str]] = {}
        for candidate in self.run.candidates.iter_rows():
            prompts.setdefault(candidate.prompt_id, []).append(candidate.id)
        rows = {row.candidate_id: row for members in prompts.values() for row in self._ranked(members)}
        return PartResult([rows[candidate.id] for candidate in self.run.candidates.iter_rows()])

    def _ranked(self, members: Sequence[str]) -> list[Score]:
        missing = {i: why for i in members if (why := self._missing(i))}
        known = [i for i in members if i not in missing]
        if len(known) == 1:
            missing[known[0]] = "no other candidate of the prompt is scored"
        rows = [Score(i, self.label, None, (), "error", why) for i, why in missing.items()]
        if len(known) < 2:
            return rows
        each = {name: ranks({i: self._value(name, i) for i in known}) for name in self.judges}
        for i in known:
            parts = tuple((name, of[i]) for name, of in each.items())
            rows.append(Score(i, self.label, sum(rank for _, rank in parts) / len(parts), parts))
        return rows

    def _missing(self, candidate: str) -> str | None:
        """Which judge did not score the candidate; None where all did."""
        return next((f"{name}: unscored" for name, of in self._scores.items() if of[candidate].value is None), None)

    def _value(self, judge: str, candidate: str) -> float:
        value = self._scores[judge][candidate].value
        assert value is not None
        return value


def ranks(values: Mapping[str, float]) -> dict[str, float]:
    """The share of the others that each is above, in [0, 1]; one that it ties with counts half.

    >>> ranks({"a": 0.9, "b": 0.1, "c": 0.1})
    {'a': 1.0, 'b': 0.25, 'c': 0.25}
    """
    others = list(values.values())
    above = {name: sum((value > v) + (value == v) / 2 for v in others) - 0.5 for name, value in values.items()}
    return {name: n / (len(others) - 1) for name, n in above.items()}
