"""What mining leaves behind: which questions were chosen and why, and the rejected text beside each right answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from chexalign.types import Question

Origin = Literal["own", "rules", "llm"]  # the policy's own wrong answer, or an edit of the right one by whom
EditKind = Literal["own", "answer", "negation", "finding", "side", "severity", "location", "attribute", "change"]


@dataclass(frozen=True, slots=True)
class MinedItem:
    """A question that was chosen to be learned from, and what it was chosen for.

    `rank` 0 is a seed itself, 1 its nearest neighbor; a draw at random has no seed. `confidence` and `right` are those
    of the policy's answer to it, None where it was not asked or the answer has no confidence.
    """

    question_id: str
    group: str  # the type of question whose quota it fills
    seed_id: str | None
    rank: int
    distance: float | None
    confidence: float | None
    right: bool | None


@dataclass(frozen=True, slots=True)
class Edit:
    """A wrong answer with a rationale that would support it: what is written, and what it answers."""

    text: str
    kind: EditKind
    answers: tuple[str, ...]  # that it stands for, as `Question.answers`
    origin: Origin


@dataclass(frozen=True, slots=True)
class Proposals:
    """Edits of one question, the best first; `failed` says why there are none."""

    edits: tuple[Edit, ...]
    failed: str | None = None


class Generator(Protocol):
    """Makes counterfactual rationales."""

    version: str  # part of what a table of counterfactuals depends on

    def propose(self, questions: Sequence[Question]) -> list[Proposals]:
        """For each question its edits, in the order in which they are to be tried."""
        ...


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """The right answer to a question, and a wrong one of the same style that passed the verifier."""

    question_id: str
    chosen: str
    rejected: str
    kind: EditKind
    origin: Origin
    rejected_answers: tuple[str, ...]
    tries: int  # proposals that were looked at, this one included
