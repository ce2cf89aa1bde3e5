"""The stage that scores texts: candidates while pairs are made, predictions while policies are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chexalign.errors import UserError
from chexalign.judges.base import Judge, TextPair
from chexalign.registry import registry
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.types import Score


class Texts(Protocol):
    """Where the texts to score come from; it is sent to worker processes and read there."""

    def load(self) -> list[tuple[str, TextPair]]:
        """An id and the pair of texts, in a fixed order."""
        ...


@dataclass(frozen=True, slots=True)
class CandidateTexts:
    """Every candidate of a run with its study's reference."""

    run: RunFolder

    def load(self) -> list[tuple[str, TextPair]]:
        """Candidates in the order of their table."""
        references = {s.id: s.reference for s in self.run.studies.iter_rows()}
        study_of = {p.id: p.study_id for p in self.run.prompts.iter_rows()}
        return [(c.id, TextPair(c.text, references[study_of[c.prompt_id]])) for c in self.run.candidates.iter_rows()]


@dataclass(frozen=True, slots=True)
class PredictionTexts:
    """Every prediction of a policy with its study's reference."""

    run: RunFolder
    policy: str

    def load(self) -> list[tuple[str, TextPair]]:
        """Predictions in the order of their table; the id is the study's."""
        references = {s.id: s.reference for s in self.run.studies.iter_rows()}
        return [
            (p.study_id, TextPair(p.text, references[p.study_id]))
            for p in self.run.predictions(self.policy).iter_rows()
        ]


def make_judge(spec: Any) -> Judge:
    """The judge of a recipe's JudgeSpec, its wrapped judge made first; no weights are loaded.

    Raises: UserError when the name is unknown, or the judge does not take the options.
    """
    inner = {} if spec.of is None else {"of": make_judge(spec.of)}
    found = registry("judges").get(spec.name)
    try:
        judge: Judge = found(**inner, **spec.options)
    except TypeError as error:
        raise UserError(
            f"judge {spec.name} with {', '.join([*inner, *spec.options]) or 'no options'}",
            str(error),
            "`chexalign list judges` shows what each judge needs",
        ) from error
    return judge


@dataclass(slots=True)
class ScoresWorker:
    """Scores a fixed slice of texts per part; a text that cannot be scored keeps its row, with the reason."""

    judge: Any  # a recipe's JudgeSpec
    texts: Texts
    part_size: int
    _judge: Judge | None = None
    _rows: Sequence[tuple[str, TextPair]] = ()

    def setup(self) -> None:
        """Makes the judge and reads the texts."""
        self._judge, self._rows = make_judge(self.judge), self.texts.load()

    def part(self, index: int) -> PartResult[Score]:
        """The scores of one slice."""
        assert self._judge is not None
        rows = self._rows[index * self.part_size : (index + 1) * self.part_size]
        label = f"{self._judge.name}@{self._judge.version}"
        judgements = self._judge.score([pair for _, pair in rows])
        return PartResult(
            [
                Score(row_id, label, j.value, tuple(j.parts.items()), j.status, j.reason)
                for (row_id, _), j in zip(rows, judgements, strict=True)
            ]
        )
