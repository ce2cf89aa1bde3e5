"""What a judge is: a name, a version, and a score for each (candidate, reference) pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chexalign.types import ScoreStatus


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge says of one pair of texts; `value` is None exactly when `status` is not ok.

    `notes` hold what it wrote about them, e.g. the sentences that name an error.
    """

    value: float | None
    parts: dict[str, float] = field(default_factory=dict)
    status: ScoreStatus = "ok"
    reason: str | None = None
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.value is None) != (self.status != "ok"):
            raise ValueError("Judgement: value must be None exactly when status is not ok")


@dataclass(frozen=True, slots=True)
class TextPair:
    """A candidate report and the radiologist's reference report for the same study."""

    candidate: str
    reference: str


class Judge(Protocol):
    """Scores candidates against references; higher is better, each pair on its own.

    What a judge with the attribute `dear = True` says is kept on disk, and it is not asked about the same texts again,
    in any run, as long as its name, version and options are the same; so whatever changes its scores changes its
    version. One that sends texts to a server has the `EndpointSpec` of it as its attribute `endpoint`, and is dear
    unless it says `dear = False`; several threads ask it at the same time. Options that are named by the attribute
    `ways` change no score. One with `fills_gpu = True` is asked by one process per GPU, and one that has `close()` is
    told when it is asked no more.
    """

    name: str
    version: str

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """One judgement per pair, in order; the score of a pair never depends on the others."""
        ...
