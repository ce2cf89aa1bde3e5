"""What the sections on length, on other judges and on answers lay out, worked out from the report's data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chexalign.evaluate.cross_judge import Disagreement
from chexalign.evaluate.length_verdict import MOST_VERBOSE
from chexalign.evaluate.tasks import TaxVerdict
from chexalign.present.data import BASELINE, ReportData
from chexalign.present.metrics import metric_info
from chexalign.present.metrics_families import judge_label
from chexalign.present.numbers import EstimateIndex
from chexalign.present.views import Cell, Row, cell_of, row_of, tests_of
from chexalign.types import Estimate

LENGTH_RULE = (
    f"The rule: no growth where the whole interval of the words against {BASELINE}'s lies at or below "
    f"{MOST_VERBOSE}; longer and better where it lies above {MOST_VERBOSE} and the interval of the win rate at equal "
    "length lies above one half; longer only where it lies above and the win rate's does not; open where the interval "
    "leaves both possible."
)
_LENGTH_WORDS = {
    "no growth": "does not write longer reports",
    "longer and better": "writes longer reports, which its judge finds better at equal length too",
    "longer only": "writes longer reports, which its judge does not find better at equal length",
    "open": "it cannot be told whether its reports are longer",
}
_TAX_WORDS = {"pass": "within the bound", "fail": "lost more than the bound", "open": "open"}
_TASK_COLUMNS = ("unread", "other_order", "same_answer", "by_likelihood", "micro_f1")


@dataclass(frozen=True, slots=True)
class LengthRow:
    """What is told of one policy's length; a number that the run did not make is None."""

    policy: str
    judge: str  # as it is called
    verdict: str | None
    says: str
    numbers: tuple[tuple[str, Estimate | None], ...]  # by column


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task or part of one: accuracy of every policy, and the verdict on each that was trained."""

    name: str
    depth: int  # 0 for a task, 1 for a collection of it, 2 for a part
    cells: tuple[Cell, ...]
    verdicts: dict[str, TaxVerdict]  # by policy


def length_rows(data: ReportData, index: EstimateIndex) -> list[LengthRow]:
    """One row per policy of which verbosity is known, the baseline first."""
    verdicts = {found.policy: found for found in data.more.length}
    rows = []
    for policy in data.shown:
        found = verdicts.get(policy)
        judge = found.judge if found else data.judges.get(policy, "")
        numbers = (
            (f"words against {BASELINE}", index.get(f"verbosity_vs_{BASELINE}", policy)),
            ("words against the reference", index.get("verbosity_vs_reference", policy)),
            ("win rate", index.get(f"{judge}.win_rate_vs_{BASELINE}", policy)),
            ("win rate at equal length", index.get(f"{judge}.lc_win_rate_vs_{BASELINE}", policy)),
            ("gain per 10 words added", index.get(f"{judge}.gain.per_10_words", policy)),
        )
        if any(estimate is not None for _, estimate in numbers):
            word = found.verdict if found else None
            says = _LENGTH_WORDS[word] if word else ""
            rows.append(LengthRow(policy, judge_label(judge) if judge else "", word, says, numbers))
    return rows


def length_summary(data: ReportData) -> list[str]:
    """One sentence per policy with a verdict on its length."""
    return [f"{found.policy}: {_LENGTH_WORDS[found.verdict]}" for found in data.more.length]


def judge_rows(data: ReportData, index: EstimateIndex) -> list[Row]:
    """Gains in standard deviations, one row per judge, and last how far each policy's own judge is ahead."""
    names = [name for name in index.metrics if metric_info(name).group == "Judges"]
    return [row_of(name, data, index, {}) for name in sorted(names, key=lambda name: name == "goodhart_gap")]


def disagreements(data: ReportData) -> list[tuple[str, list[Disagreement]]]:
    """Per policy the studies about which the judges lie furthest apart, widest first."""
    return [(arm, found) for arm in data.arms if (found := [d for d in data.more.disagreements if d.policy == arm])]


def task_rows(data: ReportData, index: EstimateIndex) -> list[TaskRow]:
    """Accuracy of the mean over tasks, then of every task with its collections and parts under it."""
    verdicts = {(found.metric, found.policy): found for found in data.more.tax}
    tests = tests_of(data.more.comparisons)
    names = [name for name in index.metrics if name.startswith("task.") and name.endswith(".accuracy")]
    rows = []
    for name in sorted(names, key=_group):
        info = metric_info(name, data.definitions)
        cells = tuple(cell_of(info, policy, index, tests) for policy in data.shown)
        found = {policy: verdicts[name, policy] for policy in data.shown if (name, policy) in verdicts}
        group = _group(name)
        rows.append(TaskRow("All tasks, mean" if group == ("",) else group[-1], len(group) - 1, cells, found))
    return rows


def control_rows(data: ReportData, index: EstimateIndex) -> list[Row]:
    """What else is known of each task's answers: unread ones, other orders of options, likelihood."""
    names = [
        n for n in index.metrics if n.startswith("task.") and n.count(".") == 2 and n.split(".")[2] in _TASK_COLUMNS
    ]
    order = sorted(names, key=lambda n: (n.split(".")[1], _TASK_COLUMNS.index(n.split(".")[2])))
    return [row_of(name, data, index, {}) for name in order]


def tax_summary(data: ReportData) -> list[str]:
    """One sentence per policy: on which tasks it lost more than the bound, may have, and did not."""
    lines = []
    for policy in dict.fromkeys(found.policy for found in data.more.tax):
        said = []
        for kind in ("fail", "open", "pass"):
            tasks = [_task_name(v) for v in data.more.tax if (v.policy, v.verdict) == (policy, kind)]
            said += [f"{_TAX_WORDS[kind]} on {', '.join(tasks)}"] if tasks else []
        lines.append(f"{policy}: {'; '.join(said)}")
    return lines


def tax_word(verdict: TaxVerdict) -> str:
    """The verdict on one task in words."""
    return _TAX_WORDS[verdict.verdict]


def gap_summary(data: ReportData, index: EstimateIndex) -> list[Estimate]:
    """How far the own judge of every policy is ahead of the others."""
    return [e for arm in data.arms if (e := index.difference("goodhart_gap", arm)) is not None]


def _task_name(verdict: TaxVerdict) -> str:
    group = _group(verdict.metric)
    return "the mean over tasks" if group == ("",) else group[-1]


def _group(name: str) -> tuple[str, ...]:
    """Task, collection and part of a metric; the mean over tasks comes first."""
    group = name.removeprefix("task.").removesuffix(".accuracy")
    return ("",) if group == "mean" else tuple(group.split(".", 2))


def bound_of(verdicts: Sequence[TaxVerdict]) -> float | None:
    """The bound on what may be lost; None where no questions were asked."""
    return verdicts[0].bound if verdicts else None
