"""What the rules know of other questions: right answers to free ones, and how rationales of an answer are worded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import TypeVar

from chexalign import ids
from chexalign.data.answers import YES_NO, plain
from chexalign.mine.edits.answer import Slots
from chexalign.types import Question

T = TypeVar("T")
Body = tuple[str, ...]  # the sentences of a rationale that do not give the answer

_DRAWN = 3  # bodies, of which the one that is most like the right one's comes first


@dataclass(frozen=True, slots=True)
class Others:
    """Both by how often they are right: answers by task and part, bodies by the text of the question and the answer."""

    answers: Mapping[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)
    bodies: Mapping[tuple[str, str], Mapping[Body, int]] = field(default_factory=dict)

    @staticmethod
    def of(questions: Iterable[Question]) -> Others:
        """What these questions tell, whatever their order."""
        answers: dict[tuple[str, str], Counter[str]] = {}
        bodies: dict[tuple[str, str], Counter[Body]] = {}
        for question in questions:
            if not question.options and question.answer_type != "verify":
                answers.setdefault((question.task, question.part), Counter()).update(question.answers)
            if question.rationale is not None and question.answer_type in ("verify", "choose") and question.answers:
                body = tuple(Slots.of(question.rationale, question.answers[0], question.options or YES_NO).body)
                if body:
                    bodies.setdefault((question.text, plain(question.answers[0])), Counter())[body] += 1
        return Others(
            {key: dict(sorted(counts.items())) for key, counts in sorted(answers.items())},
            {key: dict(sorted(counts.items())) for key, counts in sorted(bodies.items())},
        )

    def worded(self, question: Question, answer: str, own: Body, *key: object) -> list[Body]:
        """Bodies of rationales that gave this answer to the same text, of as many sentences as the own one.

        A few are drawn in a keyed order, each as often as it is there; the one most like the own comes first.
        """
        found = self.bodies.get((question.text, plain(answer)), {})
        same = {body: n for body, n in found.items() if len(body) == len(own) and body != own}
        drawn = keyed_by_share(same, *key)[:_DRAWN]
        return sorted(drawn, key=lambda body: -_alike(body, own))


def keyed_by_share(counts: Mapping[T, int], *key: object) -> list[T]:
    """The entries in a keyed order in which each comes first with a chance in proportion to its count.

    Source: Efraimidis and Spirakis 2006: the smallest of exponential times with these rates.
    """

    def time(entry: T) -> float:
        return -math.log((ids.keyed_seed(*key, entry) + 1) / 2**63) / counts[entry]

    return sorted(counts, key=lambda entry: (time(entry), str(entry)))


def _alike(one: Body, other: Body) -> float:
    return SequenceMatcher(None, " ".join(one).split(), " ".join(other).split(), autojunk=False).ratio()
