"""What the templates lay out: the pipeline and the tables, worked out from the report's data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chexalign.present.data import BASELINE, ReportData, StageRow
from chexalign.present.metrics import GROUPS, Group, MetricInfo, in_order, metric_info
from chexalign.present.numbers import EstimateIndex, Verdict, verdict
from chexalign.types import Comparison, Estimate

Tests = Mapping[tuple[str, str], Comparison]
SIGNIFICANT = 0.05  # p values after Holm's correction below this are called so

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
    """One policy's value of a metric, its difference against the baseline, and what that says.

    `best` is True for the best policy of a row where the tests, too, tell it from the others.
    """

    policy: str
    value: Estimate | None
    difference: Estimate | None
    verdict: Verdict
    test: Comparison | None = None
    best: bool = False


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
    tests = tests_of(data.more.comparisons)
    rows = [row_of(name, data, index, tests) for name in in_order(index.metrics)]
    grouped = [(group, [row for row in rows if row.info.group == group]) for group in GROUPS]
    return [(group, members) for group, members in grouped if members]


def rows_of(group: Group, data: ReportData, index: EstimateIndex) -> list[Row]:
    """The rows of a group with a table of its own, such as `Per finding`, for the policies that are compared."""
    tests = tests_of(data.more.comparisons)
    return [row_of(name, data, index, tests) for name in index.metrics if metric_info(name).group == group]


def row_of(name: str, data: ReportData, index: EstimateIndex, tests: Tests) -> Row:
    """One metric of every policy that is compared."""
    info = metric_info(name, data.definitions)
    return Row(info, with_best(info, [cell_of(info, policy, index, tests) for policy in data.shown]))


def tests_of(comparisons: Sequence[Comparison]) -> Tests:
    """Tests against the baseline by metric and policy."""
    return {(c.metric, c.policy): c for c in comparisons if c.baseline == BASELINE}


def cell_of(info: MetricInfo, policy: str, index: EstimateIndex, tests: Tests) -> Cell:
    """The value of a metric, its paired difference and its test."""
    difference = index.difference(info.name, policy)
    says: Verdict = "unclear" if difference is None else verdict(difference, info)
    return Cell(policy, index.get(info.name, policy), difference, says, tests.get((info.name, policy)))


def with_best(info: MetricInfo, cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, the best marked if it is significantly better than the baseline.

    The baseline itself is marked where every other policy is significantly worse. Significant: the interval of the
    difference excludes 0, and the p value after Holm's correction is below 0.05. Nothing is marked without tests.
    """
    known = [c for c in cells if c.value is not None and c.value.value is not None]
    if info.better == 0 or len(known) < 2:
        return tuple(cells)
    top = max(known, key=lambda c: info.better * (c.value.value or 0.0) if c.value else 0.0)
    others = [c for c in known if c is not top]
    is_best = all(map(significant, others)) if top.difference is None else significant(top) and top.verdict == "better"
    return tuple(replace(c, best=is_best and c is top) for c in cells)


def significant(cell: Cell) -> bool:
    """Whether interval and test both tell the policy from the baseline."""
    p = cell.test.p_holm if cell.test else None
    return cell.difference is not None and cell.difference.excludes_zero and p is not None and p < SIGNIFICANT


def chance(groups: Sequence[tuple[str, Sequence[Row]]], level: float) -> Chance:
    """The count of differences of arms in the main table whose interval excludes 0, against that expected by chance."""
    cells = [cell for _, rows in groups for row in rows for cell in row.cells]
    tested = [cell.difference for cell in cells if cell.difference is not None and cell.difference.low is not None]
    return Chance(len(tested), sum(e.excludes_zero for e in tested), len(tested) * (1 - level))


def _total(name: str, stages: Sequence[StageRow]) -> StageTotal:
    dropped: Counter[str] = Counter()
    for stage in stages:
        dropped.update(stage.dropped)
    seconds = [stage.seconds for stage in stages if stage.seconds is not None]
    workers = ", ".join(dict.fromkeys(stage.worker for stage in stages if stage.worker)) if len(stages) == 1 else ""
    rows = sum(stage.rows for stage in stages)
    return StageTotal(name, len(stages), rows, dropped, sum(seconds) if seconds else None, workers)
