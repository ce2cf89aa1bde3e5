"""What is mined: the questions that SFT learned from, and the policy's answers to those of them that it was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from chexalign.data.answers import YES_NO, plain
from chexalign.data.questions import spread_evenly
from chexalign.errors import UserError
from chexalign.evaluate.confidence import Aggregate, Span, confidence
from chexalign.mine.vectors.features import Items
from chexalign.recipe.mine import Groups
from chexalign.run_folder import RunFolder
from chexalign.train.questions import learned_questions
from chexalign.types import Answer, Question


@dataclass(frozen=True)
class Gallery:
    """Questions in the order of their table; `groups` says which types of question quotas are for."""

    questions: Sequence[Question]
    groups: Groups
    evaluated: frozenset[str]  # patients of whom there is no question

    @classmethod
    def load(
        cls, run: RunFolder, collection: str, n: int, *, evaluated: frozenset[str], max_images: int, groups: Groups
    ) -> Gallery:
        """The questions of a collection that SFT learned from, where it was told to learn from `n`.

        Raises: UserError when there are none.
        """
        questions, _ = learned_questions(run, collection, n, held_out=evaluated, max_images=max_images)
        if not questions:
            raise UserError(
                f"SFT learned from no question of {collection}.",
                "Hard questions are looked for among those; all of them have too many images, or none, or are of "
                "patients who are held out.",
                "Raise policy.max_images, or name another collection in `mine`.",
            )
        return cls(questions, groups, evaluated)

    def asked(self, n: int | None) -> list[str]:
        """The ids of the questions that the policy is asked: so many, spread evenly, or all."""
        return spread_evenly([question.id for question in self.questions], n)

    @cached_property
    def items(self) -> Items:
        """The questions as rows of features."""
        return Items(tuple(q.id for q in self.questions), tuple(q.patient_id for q in self.questions))

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each question."""
        return {question.id: row for row, question in enumerate(self.questions)}

    @cached_property
    def types(self) -> list[str]:
        """The type of each question, for quotas."""
        return [self._type(question) for question in self.questions]

    def _type(self, question: Question) -> str:
        if self.groups == "kind_and_answer":  # the right answer where it is yes or no, else how it is answered
            verify = question.answer_type == "verify" and question.answers
            return f"{question.kind} {plain(question.answers[0]) if verify else question.answer_type}"
        return question.kind if self.groups == "kind" else question.task

    def count_right(self, rows: Sequence[int]) -> dict[str, int]:
        """How often yes and how often no is the right answer to those of these rows that one of them answers."""
        found = (plain(answer) for row in rows for answer in self.questions[row].answers)
        return {name: n for name, n in sorted(Counter(found).items()) if name in YES_NO}

    def count(self, rows: Sequence[int] | None = None) -> dict[str, int]:
        """How many of these rows, or of all, there are of each type."""
        types = self.types if rows is None else [self.types[row] for row in rows]
        return dict(sorted(Counter(types).items()))


@dataclass(frozen=True)
class Answers:
    """The policy's answers to questions of a gallery, in the order of its rows."""

    gallery: Gallery
    found: Sequence[Answer]
    aggregate: Aggregate
    span: Span

    @classmethod
    def load(cls, run: RunFolder, gallery: Gallery, *, aggregate: Aggregate, span: Span) -> Answers:
        """Those of the finished table."""
        rows = gallery.rows
        found = [answer for answer in run.mine_answers.iter_rows() if answer.question_id in rows]
        return cls(gallery, sorted(found, key=lambda answer: rows[answer.question_id]), aggregate, span)

    @cached_property
    def rows(self) -> list[int]:
        """The gallery's row of each answer."""
        return [self.gallery.rows[answer.question_id] for answer in self.found]

    @cached_property
    def failed(self) -> list[bool | None]:
        """For each row of the gallery whether the answer is not right; None where there is no answer."""
        right = {row: answer.right is True for row, answer in zip(self.rows, self.found, strict=True)}
        return [None if row not in right else not right[row] for row in range(len(self.gallery.questions))]

    @cached_property
    def confidences(self) -> dict[int, float | None]:
        """The confidence of each answer, by row of the gallery."""
        return {
            row: confidence(answer, aggregate=self.aggregate, span=self.span)
            for row, answer in zip(self.rows, self.found, strict=True)
        }
