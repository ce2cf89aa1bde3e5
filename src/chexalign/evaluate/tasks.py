"""The alignment tax: what training on reports costs in the answers to questions about images, with paired intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from chexalign.stats import Bootstrap, PairedTests, with_holm
from chexalign.stats.sums import divide
from chexalign.types import Answer, Comparison, Estimate, Question, Scoring

Floats = npt.NDArray[np.float64]
BY_ANSWERS = ("task.", "vqa.")  # what the metrics of answers begin with, by task and by type of question
MEAN = "mean"  # over tasks, each counting once, as the CheXalign paper averages its six


@dataclass(frozen=True, slots=True)
class Asked:
    """All questions that policies were asked, of every collection, in a fixed order."""

    questions: Sequence[Question]

    @property
    def patients(self) -> list[str]:
        """What is resampled: patients, told apart between collections, whose ids may be the same by chance."""
        return [f"{question.source}/{question.patient_id}" for question in self.questions]

    def groups(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Rows of each task, and where there are several, of its collections and of their parts; by dotted name."""
        names = [(q.task, q.source, q.part) for q in self.questions]
        found = dict.fromkeys(task for task, _, _ in names)
        for task in list(found):
            sources = dict.fromkeys(source for t, source, _ in names if t == task)
            if len(sources) > 1:
                found |= dict.fromkeys(f"{task}.{source}" for source in sources)
            for source in sources:
                parts = dict.fromkeys(part for t, s, part in names if (t, s) == (task, source))
                if len(parts) > 1:
                    found |= dict.fromkeys(f"{task}.{source}.{part}" for part in parts)
        return {name: np.array([_in(name, *each) for each in names]) for name in found}


def _in(group: str, task: str, source: str, part: str) -> bool:
    return group in (task, f"{task}.{source}", f"{task}.{source}.{part}")


@dataclass(frozen=True, slots=True)
class TaskResults:
    """Per-question values of one policy, in the order of `Asked`; NaN where a question was not answered at all.

    An answer that cannot be read is not right, and counts in `unread`.
    """

    name: str
    right: Floats  # [N] 1 or 0, in the question's own order of options
    unread: Floats  # [N] 1 or 0
    right_other_order: Floats  # [N] the mean over the other orders
    same: Floats  # [N] 1 where every order gave the same readable answer
    sets: Floats  # [N, 3] right options, options that are right, options named; NaN for other questions
    by_likelihood: Floats  # [N] 1 or 0
    scoring: Sequence[Scoring] = field(default=("generation",))


def measure_tasks(name: str, asked: Asked, answers: Iterable[Answer]) -> TaskResults:
    """The values of one policy from its answers."""
    at = {question.id: i for i, question in enumerate(asked.questions)}
    orders: list[dict[int, Answer]] = [{} for _ in at]
    likelihood, kinds = np.full(len(at), np.nan), []
    for one in answers:
        if one.question_id not in at:
            continue
        if one.scoring not in kinds:
            kinds.append(one.scoring)
        if one.scoring == "generation":
            orders[at[one.question_id]][one.order] = one
        elif one.order == 0:
            likelihood[at[one.question_id]] = float(bool(one.right))
    values = np.array([_values(question, of) for question, of in zip(asked.questions, orders, strict=True)])
    right, unread, other, same, *sets = values.T.reshape(7, -1)
    return TaskResults(name, right, unread, other, same, np.stack(sets, axis=1), likelihood, kinds)


def _values(question: Question, orders: Mapping[int, Answer]) -> list[float]:
    nothing = [float("nan")] * 3
    if 0 not in orders:
        return [float("nan")] * 7
    first, others = orders[0], [answer for order, answer in sorted(orders.items()) if order]
    sets = nothing
    if question.answer_type == "query" and question.options:
        named, wanted = set(first.read or ()), set(question.answers)
        sets = [float(len(named & wanted)), float(len(wanted)), float(len(named))]
    elsewhere = float(np.mean([bool(a.right) for a in others])) if others else float("nan")
    same = float(first.read is not None and all(a.read == first.read for a in others)) if others else float("nan")
    return [float(bool(first.right)), float(first.read is None), elsewhere, same, *sets]


def task_estimates(
    asked: Asked, results: Sequence[TaskResults], bootstrap: Bootstrap, *, split: str, baseline: str
) -> list[Estimate]:
    """Every number of every policy, and the paired difference of accuracies against the baseline.

    `task.GROUP.accuracy` counts what cannot be read as wrong and `task.GROUP.unread` says how much that is;
    `.micro_f1` is over the options of questions with any number of right ones; `.other_order` is the accuracy with the
    options in other orders and `.same_answer` the share that says the same in all of them; `.by_likelihood` scores the
    most probable option. `task.mean.accuracy` is the mean over tasks.
    """
    base = next(result for result in results if result.name == baseline)
    groups, tasks = asked.groups(), sorted({question.task for question in asked.questions})
    out: list[Estimate] = []
    for result in results:
        about = {"policy": result.name, "split": split}
        theirs = None if result is base else base
        for group, rows in groups.items():
            out += _of_group(group, rows, result, theirs, bootstrap, about)
        out += _mean_over_tasks([groups[task] for task in tasks], result, theirs, bootstrap, about)
    return out


def _of_group(
    group: str,
    rows: npt.NDArray[np.bool_],
    result: TaskResults,
    base: TaskResults | None,
    bootstrap: Bootstrap,
    about: Mapping[str, str],
) -> Iterator[Estimate]:
    values = {
        "accuracy": result.right,
        "unread": result.unread,
        "other_order": result.right_other_order,
        "same_answer": result.same,
        "by_likelihood": result.by_likelihood,
    }
    for name, found in values.items():
        if not np.isnan(found[rows]).all():
            yield bootstrap.mean(_only(rows, found), metric=f"task.{group}.{name}", **about)
    if not np.isnan(result.sets[rows]).all():
        columns = [_only(rows, column) for column in result.sets.T]
        yield bootstrap.of_sums(
            columns, lambda s: divide(2 * s[:, 0], s[:, 1] + s[:, 2]), metric=f"task.{group}.micro_f1", **about
        )
    if base is None:
        return
    for name, mine, theirs in (
        ("accuracy", result.right, base.right),
        ("by_likelihood", result.by_likelihood, base.by_likelihood),
    ):
        if not (np.isnan(mine[rows]) | np.isnan(theirs[rows])).all():
            yield bootstrap.difference(
                _only(rows, mine), theirs, metric=f"task.{group}.{name}", baseline=base.name, **about
            )


def _mean_over_tasks(
    tasks: Sequence[npt.NDArray[np.bool_]],
    result: TaskResults,
    base: TaskResults | None,
    bootstrap: Bootstrap,
    about: Mapping[str, str],
) -> Iterator[Estimate]:
    """The mean of the tasks' accuracies, each a ratio of sums over its own questions."""

    def mean(sums: Floats) -> Floats:
        return np.mean([divide(sums[:, 2 * i], sums[:, 2 * i + 1]) for i in range(len(tasks))], axis=0)

    def columns(values: Floats) -> list[Floats]:
        known = ~np.isnan(values)
        found = []
        for rows in tasks:
            counted = rows & known
            found += [np.where(counted, np.nan_to_num(values), 0.0), counted.astype(float)]
        return found

    metric = f"task.{MEAN}.accuracy"
    yield bootstrap.of_sums(columns(result.right), mean, metric=metric, **about)
    if base is not None:
        gap = result.right - base.right
        yield bootstrap.of_sums(columns(gap), mean, metric=metric, baseline=base.name, **about)


def compare_tasks(
    asked: Asked, results: Sequence[TaskResults], tests: PairedTests, *, baseline: str
) -> list[Comparison]:
    """Whether each policy's accuracy differs from the baseline's, per task, corrected by Holm over a policy's tasks."""
    base = next(result for result in results if result.name == baseline)
    groups = {name: rows for name, rows in asked.groups().items() if "." not in name}
    pairs = [(result, base) for result in results if result is not base]
    return compare_accuracies(groups, pairs, tests, prefix="task")


class Answered(Protocol):
    """A policy's name, and which of its answers are right, `[N]` 1 or 0; NaN where there is none."""

    @property
    def name(self) -> str:
        """Of the policy."""
        ...

    @property
    def right(self) -> Floats:
        """By question."""
        ...


def compare_accuracies(
    groups: Mapping[str, npt.NDArray[np.bool_]],
    pairs: Sequence[tuple[Answered, Answered]],
    tests: PairedTests,
    *,
    prefix: str,
) -> list[Comparison]:
    """Whether two policies differ in accuracy in each group of rows, corrected by Holm over the groups of a pair."""
    return [
        comparison
        for mine, theirs in pairs
        for comparison in with_holm(
            [
                tests.mean(
                    _only(rows, mine.right),
                    theirs.right,
                    metric=f"{prefix}.{group}.accuracy",
                    policy=mine.name,
                    baseline=theirs.name,
                )
                for group, rows in groups.items()
            ]
        )
    ]


@dataclass(frozen=True, slots=True)
class TaxVerdict:
    """Whether a policy lost more on a task than the bound; `open` where the interval leaves both possible."""

    metric: str
    policy: str
    bound: float
    verdict: Literal["pass", "fail", "open"]


def tax_verdicts(estimates: Sequence[Estimate], *, bound: float) -> list[TaxVerdict]:
    """One verdict per policy and task, and for the mean over tasks.

    `pass` where the whole interval of the difference lies above -bound, `fail` where it lies below, else `open`, also
    where there is no interval.
    """
    return [
        TaxVerdict(e.metric, e.policy, bound, _verdict(e, bound))
        for e in estimates
        if e.baseline is not None
        and e.metric.startswith("task.")
        and e.metric.endswith(".accuracy")
        and e.metric.count(".") == 2
    ]


def _verdict(estimate: Estimate, bound: float) -> Literal["pass", "fail", "open"]:
    if estimate.low is None or estimate.high is None:
        return "open"
    return "pass" if estimate.low > -bound else "fail" if estimate.high < -bound else "open"


def _only(rows: npt.NDArray[np.bool_], values: Floats) -> Floats:
    return np.where(rows, values, np.nan)
