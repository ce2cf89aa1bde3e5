"""Numbers by type of question of all runs that mined any, over the questions that the runs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from chexalign.compare.questions import Questions, split_of
from chexalign.compare.side import Side
from chexalign.compare.studies import PAIR_LEVEL, Found, System
from chexalign.evaluate.question_types import ALL, Typed, TypeResults, measure_types
from chexalign.evaluate.type_numbers import TypeNumbers
from chexalign.types import Estimate

_OF_ALL = tuple(f"vqa.{ALL}.{kind}" for kind in ("micro_f1", "ece"))


class QuestionTypes:
    """As `Questions`, whose answers these are: the run's own estimates, or over what is shared where runs differ."""

    def __init__(self, questions: Questions) -> None:
        self.same = questions.same
        self._questions = questions
        self._found: dict[str, dict[tuple[str, str], Found]] = {}
        self._results: dict[str, TypeResults | None] = {}
        self._differences: dict[tuple[str, str], dict[str, Estimate]] = {}

    def find(self, system: System, metric: str) -> Found | None:
        """The estimate of a metric, or None where the run has none."""
        return self._of_side(system.side).get((metric, system.policy))

    def metrics(self, sides: Sequence[Side]) -> list[str]:
        """Accuracy by kind of question and of answer, F1 of sets, calibration error and hallucinations."""
        there = dict.fromkeys(metric for side in sides if side.recipe.mine for metric, _ in self._of_side(side))
        accuracies = [metric for metric in there if metric.endswith(".accuracy")]
        return accuracies + [metric for metric in (*_OF_ALL, "vqa.hallucination") if metric in there]

    def difference(self, one: System, other: System, metric: str) -> Estimate | None:
        """The paired difference on the shared questions, with a 95% interval."""
        pair = (one.name, other.name)
        if pair not in self._differences:
            mine, theirs = self._result(one), self._result(other)
            rows = []
            if mine is not None and theirs is not None:
                rows = self._numbers(one.side, [mine, theirs], [theirs.name], "compare", PAIR_LEVEL).estimates()
            self._differences[pair] = {e.metric: e for e in rows if (e.policy, e.baseline) == pair}
        return self._differences[pair].get(metric)

    def _of_side(self, side: Side) -> dict[tuple[str, str], Found]:
        if side.label not in self._found:
            rows = [e for e in side.numbers.estimates if e.metric.startswith("vqa.")]
            source = f"{side.label}/estimates.json"
            if side.label in self._questions.by_side and not self.same and self._questions.n_shared:
                rows, source = self._again(side), f"{side.label}/answers"
            self._found[side.label] = {
                (e.metric, e.policy): Found(e, f"{source}: {e.metric} of {e.policy}")
                for e in rows
                if e.baseline is None
            }
        return self._found[side.label]

    def _again(self, side: Side) -> list[Estimate]:
        """The numbers over the shared questions."""
        systems = [System(side, policy) for policy in side.policies]
        names = {system.name: system.policy for system in systems}
        known = [result for system in systems if (result := self._result(system)) is not None]
        numbers = self._numbers(side, known, [], "tasks", side.recipe.evaluate.level)
        rows = [*numbers.estimates(), *(calibration.ece for calibration in numbers.calibrations())]
        return [replace(e, policy=names[e.policy]) for e in rows]

    def _numbers(
        self, side: Side, results: Sequence[TypeResults], baselines: Sequence[str], purpose: str, level: float
    ) -> TypeNumbers:
        bootstrap = self._questions.bootstrap(side, purpose, level)
        return TypeNumbers(self._typed, results, baselines, bootstrap, split_of(side))

    @cached_property
    def _typed(self) -> Typed:
        return Typed(self._questions.shared)

    def _result(self, system: System) -> TypeResults | None:
        """What a policy answered to the shared questions; None where there is none, or some of its answers are not."""
        if system.name not in self._results:
            block, found = system.side.recipe.questions, None
            answers, right = self._questions.answers(system), self._questions.result(system)
            if block is not None and answers is not None and right is not None and self._questions.n_shared:
                how = block.confidence
                aggregate, span = (how.aggregate, how.span) if how else (None, None)
                found = measure_types(self._typed, right, answers, aggregate=aggregate, span=span)
            self._results[system.name] = found
        return self._results[system.name]
