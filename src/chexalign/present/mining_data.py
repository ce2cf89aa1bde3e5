"""What a report shows of mined questions: plain records that the caller fills from a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chexalign.evaluate.calibration import Calibration
from chexalign.mine.purity import Purity
from chexalign.present.case import CaseImage
from chexalign.types import Counterfactual, Question


@dataclass(frozen=True, slots=True)
class MinedSet:
    """The questions that one way of selecting them chose; counts by type of question.

    `wanted`, `short` and `available` are empty where there are no quotas, as for a draw at random.
    """

    select: str
    arms: Sequence[str]  # the policies that learn from it
    rows: Mapping[str, int]
    wanted: Mapping[str, int]
    short: Mapping[str, int]
    available: Mapping[str, int]
    seeds: int
    asked: int
    failed: int  # of those that were asked
    without_wrong: int | None  # questions for which no wrong answer passed; None where that is not known yet


@dataclass(frozen=True, slots=True)
class WrongAnswers:
    """How the wrong answers of all sets came about, and how long they and the right ones are, in words."""

    dropped: Mapping[str, int]  # questions without one, by the last reason
    proposals: int  # that were looked at
    turned_down: Mapping[str, int]  # of these, by reason
    ways: Mapping[str, Mapping[str, int]]  # kind of edit, then origin
    chosen_words: Sequence[int]
    rejected_words: Sequence[int]


@dataclass(frozen=True, slots=True)
class Told:
    """What the policy answered to a question that it was asked, and how sure it was."""

    text: str
    right: bool | None  # None where it cannot be read
    confidence: float | None


@dataclass(frozen=True, slots=True)
class ShownQuestion:
    """A question of a set, or the seed that another one was found by."""

    question: Question
    right: str  # the right answer as it is written, with its rationale
    images: Sequence[tuple[int, str]]  # its place among all images, and what it is called
    told: Told | None
    wrong: Counterfactual | None


@dataclass(frozen=True, slots=True)
class ShownItem:
    """Why a question is in a set; `seed` is the place of its seed among the questions, its own where it is one."""

    select: str
    question: int
    group: str
    seed: int | None
    rank: int
    distance: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Mining:
    """Everything that a report shows of mining; what is not finished is named, and empty here."""

    rule: Mapping[str, str]  # what the recipe chose, in words
    unfinished: Sequence[str] = ()
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # what is counted, then type of question
    totals: Mapping[str, int] = field(default_factory=dict)  # what is counted over all types
    likeness: str = ""  # the combination that neighbors were taken by
    sets: Sequence[MinedSet] = ()
    purity: Sequence[Purity] = ()
    calibration: Sequence[Calibration] = ()  # of the answers that mining started from
    wrong: WrongAnswers | None = None
    questions: Sequence[ShownQuestion] = ()
    images: Sequence[CaseImage] = ()
    gone: int = 0  # images that could not be read
    items: Sequence[ShownItem] = ()
    most_shown: int = 0  # items of a set that are shown at most
    of_arm: Mapping[str, str] = field(default_factory=dict)  # the set that each policy learned from
    rivals: Mapping[str, Sequence[str]] = field(default_factory=dict)  # who learned alike from a draw at random

    @property
    def groups(self) -> list[str]:
        """The types of question that there are."""
        counted = [name for column in self.counts.values() for name in column]
        return sorted({*counted, *(name for made in self.sets for name in (*made.rows, *made.wanted))})
