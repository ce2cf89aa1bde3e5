"""What proposes wrong answers, and what it proposes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chexalign.types import Counterfactual, EditKind, MinedItem, Origin, Question

__all__ = ["Counterfactual", "Edit", "EditKind", "Generator", "MinedItem", "Origin", "Proposals"]


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
