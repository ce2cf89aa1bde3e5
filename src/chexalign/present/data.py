"""What a report shows: plain records that the caller fills from a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chexalign.evaluate.numbers import Numbers
from chexalign.present.case import Case
from chexalign.present.mining_data import Mining
from chexalign.types import Estimate

BASELINE = "sft"  # the policy before preference training, the left side of every comparison
CONTROL = "sft_shuffled"  # the baseline given another study's image
REFERENCE = "reference"  # the radiologist's own text, as the policy of a `words` estimate


@dataclass(frozen=True, slots=True)
class StageRow:
    """One finished stage: its folder (`scores/chexpert`), the rows it wrote and why others were dropped."""

    name: str
    rows: int
    dropped: Mapping[str, int] = field(default_factory=dict)  # reason -> rows
    seconds: float | None = None
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the run set out to show, whether it does (None: cannot be told), and the numbers that say so."""

    text: str
    holds: bool | None
    evidence: str


@dataclass(frozen=True, slots=True)
class Curve:
    """One training curve; `stage` is a stage or an arm (`sft`, `dpo_label`), `name` what is plotted (`loss`)."""

    stage: str
    name: str
    x: Sequence[float]  # optimizer steps
    y: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(f"Curve: {self.stage} {self.name} has {len(self.x)} x and {len(self.y)} y")


@dataclass(frozen=True, slots=True)
class PairSet:
    """The preference pairs of one arm: judge scores and word counts of both sides, in pair order.

    Of an arm with verdicts on single candidates, the sides are the desirable and the undesirable ones.
    """

    arm: str
    judge: str
    chosen_scores: Sequence[float]
    rejected_scores: Sequence[float]
    chosen_words: Sequence[int]
    rejected_words: Sequence[int]
    audit: Mapping[str, float] = field(default_factory=dict)
    verdicts: bool = False

    def __post_init__(self) -> None:
        chosen = {len(self.chosen_scores), len(self.chosen_words)}
        rejected = {len(self.rejected_scores), len(self.rejected_words)}
        if len(chosen) > 1 or len(rejected) > 1 or (chosen != rejected and not self.verdicts):
            raise ValueError(f"PairSet: {self.arm} has columns of unequal length")


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything one report shows; estimates with `baseline` set are paired differences.

    `policies` are in order of display: `sft`, then the arms; `sft_shuffled` may be among them or only in `estimates`.
    `definitions` replaces or adds the sentence that defines a metric; `seeds` are listed under the method.
    """

    title: str
    run_name: str
    recipe_yaml: str
    notes: Sequence[str]
    synthetic: bool
    stages: Sequence[StageRow]
    estimates: Sequence[Estimate]
    policies: Sequence[str]
    headline: Sequence[Claim]
    curves: Sequence[Curve]
    pair_sets: Sequence[PairSet]
    cases: Sequence[Case]
    versions: Mapping[str, str]
    config_digest: str
    generated: str
    definitions: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    references: str = "raw"  # the normalizer of the references that every number here compares with
    more: Numbers = field(default_factory=Numbers)  # what estimates.json holds beside estimates; they are not read here
    judges: Mapping[str, str] = field(default_factory=dict)  # the metric of the judge that each arm learned from
    warnings: Sequence[str] = ()  # what the trainings warned of
    labelers: Mapping[str, str] = field(default_factory=dict)  # what a labeling judge counts as positive, and how
    mining: Mining | None = None  # hard questions, for a recipe that mines

    @property
    def arms(self) -> list[str]:
        """The policies after preference training, in order of display."""
        return [policy for policy in self.policies if policy not in (BASELINE, CONTROL)]

    @property
    def shown(self) -> list[str]:
        """The policies that the tables compare: the baseline, then the arms."""
        return [policy for policy in self.policies if policy != CONTROL]
