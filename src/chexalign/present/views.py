"""What the templates lay out: the pipeline, the tables and the cases, worked out from the report's data."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chexalign.present.changes import LabelChip, Sentence, label_chips, sentence_changes
from chexalign.present.data import BASELINE, CONTROL, Case, ReportData, StageRow
from chexalign.present.metrics import GROUPS, MetricInfo, in_order, metric_info
from chexalign.present.numbers import EstimateIndex, Verdict, verdict
from chexalign.types import Estimate

_MERGED_FROM = 4  # stages of one kind (`metrics/...`) from which the table shows their sum
_FLOW = ("studies", "prompts", "candidates", "scores", "pairs", "policies", "predictions")


@dataclass(frozen=True, slots=True)
class Step:
    """One box of the pipeline strip; `count` is None where the run has no such stage."""

    name: str
    count: int | None
    parts: tuple[str, ...]  # the judges or arms whose tables are added up


@dataclass(frozen=True, slots=True)
class StageTotal:
    """One line of the stage table: a stage, or the sum of several of one kind (`tables` is then above 1)."""

    name: str
    tables: int
    rows: int
    dropped: Mapping[str, int]
    seconds: float | None
    workers: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One policy's value of a metric, its difference against the baseline, and what that says."""

    policy: str
    value: Estimate | None
    difference: Estimate | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Row:
    """One metric across all policies."""

    info: MetricInfo
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Chance:
    """How many differences excluded 0, and how many would by chance if nothing had changed."""

    tested: int
    excluded: int
    expected: float


@dataclass(frozen=True, slots=True)
class CaseScore:
    """A score of one written report, and how much it differs from the baseline's (None for the baseline itself)."""

    info: MetricInfo
    value: float
    delta: float | None


@dataclass(frozen=True, slots=True)
class Written:
    """What one policy wrote for a case."""

    policy: str
    sentences: tuple[Sentence, ...]
    chips: tuple[LabelChip, ...]
    scores: tuple[CaseScore, ...]


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case ready for display; `outcomes` are `ARM:better`, `ARM:worse` or `ARM:same` by the case's first score."""

    case: Case
    images: tuple[str, ...]  # data URIs, in the order of case.images
    written: tuple[Written, ...]
    outcomes: tuple[str, ...]


def pipeline(data: ReportData) -> list[Step]:
    """The strip from studies to predictions; stages are known by the first part of their name (`scores/chexpert`)."""
    steps = []
    for name in _FLOW:
        if name == "policies":
            steps.append(Step(name, len(data.shown), tuple(data.shown)))
            continue
        found = [stage for stage in data.stages if stage.name.split("/")[0] == name]
        parts = tuple(stage.name.partition("/")[2] for stage in found if "/" in stage.name)
        steps.append(Step(name, sum(stage.rows for stage in found) if found else None, parts))
    return steps


def stage_totals(stages: Sequence[StageRow]) -> list[StageTotal]:
    """The stages in order; four or more of one kind stand as their sum, where the first of them stood."""
    kinds = [stage.name.split("/")[0] for stage in stages]
    lines: dict[str, list[StageRow]] = {}
    for stage, kind in zip(stages, kinds, strict=True):
        lines.setdefault(kind if kinds.count(kind) >= _MERGED_FROM else stage.name, []).append(stage)
    return [_total(name, members) for name, members in lines.items()]


def main_table(data: ReportData, index: EstimateIndex) -> list[tuple[str, list[Row]]]:
    """Rows of metrics under their groups, one cell per policy; groups without a metric are left out."""
    infos = [metric_info(name, data.definitions) for name in in_order(index.metrics)]
    rows = [Row(info, tuple(_cell(index, info, policy) for policy in data.shown)) for info in infos]
    grouped = [(group, [row for row in rows if row.info.group == group]) for group in GROUPS]
    return [(group, members) for group, members in grouped if members]


def finding_table(data: ReportData, index: EstimateIndex) -> list[Row]:
    """F1 of each finding against the human codes, for the policies that are compared."""
    names = [name for name in index.metrics if metric_info(name).group == "Per finding"]
    return [
        Row(metric_info(name), tuple(_cell(index, metric_info(name), policy) for policy in data.shown))
        for name in names
    ]


def chance(groups: Sequence[tuple[str, Sequence[Row]]], level: float) -> Chance:
    """The count of differences of arms in the main table whose interval excludes 0, against that expected by chance."""
    cells = [cell for _, rows in groups for row in rows for cell in row.cells]
    tested = [cell.difference for cell in cells if cell.difference is not None and cell.difference.low is not None]
    return Chance(len(tested), sum(e.excludes_zero for e in tested), len(tested) * (1 - level))


def case_views(data: ReportData) -> list[CaseView]:
    """Every case with images inline, texts marked against the baseline, and labels against the reference."""
    return [_case_view(case, data) for case in data.cases]


def _total(name: str, stages: Sequence[StageRow]) -> StageTotal:
    dropped: Counter[str] = Counter()
    for stage in stages:
        dropped.update(stage.dropped)
    seconds = [stage.seconds for stage in stages if stage.seconds is not None]
    workers = ", ".join(dict.fromkeys(stage.worker for stage in stages if stage.worker)) if len(stages) == 1 else ""
    rows = sum(stage.rows for stage in stages)
    return StageTotal(name, len(stages), rows, dropped, sum(seconds) if seconds else None, workers)


def _cell(index: EstimateIndex, info: MetricInfo, policy: str) -> Cell:
    difference = index.difference(info.name, policy)
    says: Verdict = "unclear" if difference is None else verdict(difference, info)
    return Cell(policy, index.get(info.name, policy), difference, says)


def _case_view(case: Case, data: ReportData) -> CaseView:
    order = [*data.shown, CONTROL]
    policies = [policy for policy in order if policy in case.texts]
    images = tuple("data:image/png;base64," + base64.b64encode(image.png).decode() for image in case.images)
    written = tuple(_written(case, policy) for policy in policies)
    return CaseView(case, images, written, tuple(_outcome(case, arm) for arm in data.arms if arm in case.scores))


def _written(case: Case, policy: str) -> Written:
    before = case.texts.get(BASELINE, "")
    text = case.texts[policy]
    compared = sentence_changes(before if policy != CONTROL and before else text, text)
    chips = label_chips(case.reference_labels, case.labels.get(policy, ()))
    return Written(policy, tuple(compared), tuple(chips), tuple(_scores(case, policy)))


def _scores(case: Case, policy: str) -> list[CaseScore]:
    own, base = case.scores.get(policy, {}), case.scores.get(BASELINE, {})
    compare = policy != BASELINE
    return [
        CaseScore(metric_info(name), value, _change(value, base.get(name)) if compare else None)
        for name, value in own.items()
        if not math.isnan(value)
    ]


def _change(value: float, before: float | None) -> float | None:
    return None if before is None or math.isnan(before) else value - before


def _outcome(case: Case, arm: str) -> str:
    """Better, worse or same by the first score that the arm and the baseline both have."""
    base, own = case.scores.get(BASELINE, {}), case.scores[arm]
    changes = (_change(own[metric], before) for metric, before in base.items() if metric in own)
    delta = next((c for c in changes if c is not None and not math.isnan(c)), 0.0)
    return f"{arm}:{'same' if abs(delta) < 1e-9 else 'better' if delta > 0 else 'worse'}"
