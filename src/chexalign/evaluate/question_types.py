"""What is known of each answer for numbers by type of question: is it right, what it names, affirms, how sure it is.

Types are all questions, each kind and each type of answer that some question has. What counts is the written answer,
in the question's own order of options.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np

from chexalign.data.answers import YES_NO, plain
from chexalign.evaluate.confidence import Aggregate, Span, confidence
from chexalign.evaluate.tasks import Asked, TaskResults
from chexalign.stats.sums import Bools, Floats
from chexalign.types import Answer, AnswerType, Question, QuestionKind

ALL = "all"


def affirming(question: Question) -> frozenset[str]:
    """The answers, plain, that affirm a finding which the question's evidence says is absent; empty where none does.

    Of a verify question whose right answer is no, "yes" does, if the evidence holds something absent (of a change, it
    says that what is gone is there). Of one with other options, an option does that is not right and is what the
    evidence says is absent, whole or up to its first slash (the finding of a code, or of a label at a place). Questions
    about a view or a side, and those without evidence, have no such answer; neither has one whose right answer is yes
    because something is absent.
    """
    absent = [e.text for e in question.evidence if not e.present and e.kind != "study"]
    right = {plain(answer) for answer in question.answers}
    if question.answer_type == "verify":
        yes, no = YES_NO
        return frozenset({yes}) if absent and right == {no} else frozenset()
    named = {plain(name) for text in absent for name in (text, text.split("/")[0])}
    return frozenset(named & {plain(option) for option in question.options} - right)


@dataclass(frozen=True)
class Typed:
    """Which rows of the `N` questions that were asked belong to which type, and what is right in them.

    `M` of them have a set of right options out of `L` in all, those of each question plain.
    """

    asked: Asked

    @cached_property
    def kinds(self) -> dict[str, Bools]:
        """Rows `[N]` of each kind of question that there is."""
        return _rows_of(get_args(QuestionKind), [question.kind for question in self.asked.questions])

    @cached_property
    def groups(self) -> dict[str, Bools]:
        """Rows `[N]` of all questions, of each kind and of each type of answer."""
        types = [question.answer_type for question in self.asked.questions]
        everything = {ALL: np.ones(len(types), dtype=bool)}
        return everything | self.kinds | _rows_of(get_args(AnswerType), types)

    @cached_property
    def several(self) -> Bools:
        """Rows `[N]` of the questions with a set of right options."""
        return np.array([q.answer_type == "query" and bool(q.options) for q in self.asked.questions])

    @cached_property
    def affirming(self) -> list[frozenset[str]]:
        """For each question the answers that affirm something absent."""
        return [affirming(question) for question in self.asked.questions]

    @cached_property
    def affirmable(self) -> Bools:
        """Rows `[N]` of the questions that have such an answer."""
        return np.array([bool(wrong) for wrong in self.affirming])

    @cached_property
    def right(self) -> Floats:
        """[M, L] 1 where an option is right."""
        return self.table({question.id: question.answers for question in self._sets})

    def table(self, named: Mapping[str, Sequence[str]]) -> Floats:
        """[M, L] 1 where an option is named, by the question's id; NaN where nothing is told of a question."""
        found = np.full((len(self._sets), len(self._labels)), np.nan)
        for row, question in enumerate(self._sets):
            if question.id in named:
                found[row] = 0.0
                found[row, [self._labels[plain(option)] for option in named[question.id]]] = 1.0
        return found

    @cached_property
    def _sets(self) -> list[Question]:
        return [q for q, several in zip(self.asked.questions, self.several, strict=True) if several]

    @cached_property
    def _labels(self) -> dict[str, int]:
        names = {plain(option) for question in self._sets for option in question.options}
        return {name: i for i, name in enumerate(sorted(names))}


def _rows_of(names: Sequence[str], found: Sequence[str]) -> dict[str, Bools]:
    return {name: np.array([one == name for one in found]) for name in names if name in found}


@dataclass(frozen=True, slots=True)
class TypeResults:
    """Per-question values of one policy, in the order of `Asked`; NaN where a question was not answered.

    An answer that cannot be read is not right, names nothing and affirms nothing.
    """

    name: str
    right: Floats  # [N] 1 or 0
    named: Floats  # [M, L] 1 where an option is named, as `Typed.right`
    affirmed: Floats  # [N] 1 where something absent is affirmed; NaN for questions of which no answer does
    sure: Floats  # [N] confidence, NaN where there is none


def measure_types(
    typed: Typed,
    results: TaskResults,
    answers: Iterable[Answer],
    *,
    aggregate: Aggregate | None = None,
    span: Span | None = None,
) -> TypeResults:
    """The values of one policy from its answers; without `aggregate` and `span` there is no confidence."""
    first = {answer.question_id: answer for answer in answers if (answer.scoring, answer.order) == ("generation", 0)}
    affirmed, sure = (np.full(len(typed.asked.questions), np.nan) for _ in range(2))
    for row, (question, wrong) in enumerate(zip(typed.asked.questions, typed.affirming, strict=True)):
        if (answer := first.get(question.id)) is None:
            continue
        if wrong:
            affirmed[row] = any(plain(one) in wrong for one in answer.read or ())
        if aggregate is not None and span is not None:
            sure[row] = confidence(answer, aggregate=aggregate, span=span)
    named = typed.table({name: answer.read or () for name, answer in first.items()})
    return TypeResults(results.name, results.right, named, affirmed, sure)
