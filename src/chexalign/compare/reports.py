"""The tables of written reports and of answers: 3, 4, 5, 9, 10 and 11, and 12 of mined questions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from chexalign.compare.best import RULE, with_best
from chexalign.compare.grid import Cell, Column, Grid, Line
from chexalign.compare.questions import Questions
from chexalign.compare.quoted import Quoted
from chexalign.compare.side import Side
from chexalign.compare.studies import OVERLAP, Studies, System
from chexalign.compare.types_of_questions import QuestionTypes
from chexalign.present.collect import labelers
from chexalign.present.metrics import metric_info

LENGTH_FIGURE = "Figure 3"
_LABELER = "chexbert"
_AVERAGES = ("macro_f1_14", "micro_f1_14", "macro_f1_5", "micro_f1_5", "average_f1")
Numbers = Studies | Questions | QuestionTypes
_RULES = ("chexpert.macro_f1_13", "chexpert.micro_f1_13")


def systems(sides: Sequence[Side]) -> list[System]:
    """The policies of every run, in order."""
    return [System(side, policy) for side in sides for policy in side.policies]


def judges_grid(sides: Sequence[Side], studies: Studies, quoted: Sequence[Quoted], *, overlap: bool) -> Grid:
    """Table 3: judges and their length-controlled forms by policy; with `overlap` Table 9, BLEU-4 and ROUGE-L too."""
    named = dict.fromkeys(name for side in sides for name in (*side.judges, *side.missing))
    lengths = [f"lc-{name}" for name in named]
    there = set(studies.metrics())
    metrics = [m for name, lc in zip(named, lengths, strict=True) if name not in OVERLAP for m in (name, lc)]
    metrics = [m for m in dict.fromkeys(metrics) if m in there or m in named]
    metrics += [m for m in OVERLAP if overlap and m in named]
    title = "Judges, their length-controlled forms and text overlap" if overlap else "Judges and length control"
    notes = ["lc divides a score by max(words / words of the reference, 1), per report."] if metrics else []
    return _grid("9" if overlap else "3", title, metrics, sides, studies, quoted, notes)


def length_grid(sides: Sequence[Side], studies: Studies) -> Grid:
    """The numbers of Figure 3: mean words per report, and what each judge says of it."""
    judges = dict.fromkeys(judge for side in sides for judge in side.judges if judge not in OVERLAP)
    notes = ["Words say nothing of quality, so neither more nor fewer is best."]
    return _grid(LENGTH_FIGURE, "Length against judges", ["words", *judges], sides, studies, (), notes)


def label_grids(sides: Sequence[Side], studies: Studies, quoted: Sequence[Quoted]) -> list[Grid]:
    """Tables 4 and 10, F1 of labels over the split; 10 tells n beside every number."""
    there = set(studies.metrics())
    measured = dict.fromkeys(judge for side in sides for judge in side.judges)
    labelers_there = [name for name in measured if _is_labeler(name)]
    metrics = [f"{name}.{average}" for name in labelers_there or [_LABELER] for average in _AVERAGES]
    metrics += [metric for metric in _RULES if metric in there]
    notes = [
        "The labels of CheXbert are told with No Finding among the 14; the average is that of the four. Those of the "
        "rules of chexpert are over 13 findings, without No Finding."
    ]
    words = {name: told for side in sides for name, told in labelers(side.recipe.measured()).items()}
    notes += [f"Of {name}: {told}." for name, told in words.items() if name in labelers_there]
    four = _grid("4", "F1 of the labels of the reports", metrics, sides, studies, quoted, notes)
    ten = replace(four, number="10", title=f"{four.title}, with what each interval rests on", every_n=True)
    return [four, ten]


def per_label_grid(sides: Sequence[Side], studies: Studies) -> Grid:
    """Table 11: the F1 of every label, of CheXbert where it was measured, else against the human codes."""
    there = studies.metrics()
    metrics = [m for m in there if ".f1." in m and not m.startswith("mesh.")]
    against = "The labels of CheXbert on both reports."
    if not metrics:
        metrics = [m for m in there if m.startswith("mesh.f1.")]
        against = "No run measured CheXbert: what the rules read in the report, against the human codes."
    notes = [against, "Behind each label: its true cases among the studies; a label without one has no F1."]
    grid = _grid("11", "F1 per label", metrics, sides, studies, (), notes)
    columns = [replace(c, label=c.label + _cases(grid.lines, at)) for at, c in enumerate(grid.columns)]
    return replace(grid, columns=columns)


def _cases(lines: Sequence[Line], at: int) -> str:
    """` (12)`, the true cases of a label as the methods of its estimates tell them; the most, where runs differ."""
    told = [f"{e.method if (e := line.cells[at].estimate) else ''}{line.cells[at].why or ''}" for line in lines]
    counts = [int(found[1]) for text in told if (found := re.search(r"; (\d+) true cases", text))]
    return f" ({max(counts)})" if counts else ""


def tasks_grid(sides: Sequence[Side], questions: Questions, quoted: Sequence[Quoted]) -> Grid:
    """Table 5: accuracy on questions about images, and what training on reports cost."""
    metrics = questions.metrics(sides)
    notes = [f"The tax is the accuracy lost against sft; {verdict}" for verdict in _verdicts(sides)]
    notes += _shared(questions)
    return _grid("5", "Alignment tax: accuracy by task", metrics, sides, questions, quoted, notes)


def types_grid(sides: Sequence[Side], questions: Questions) -> Grid:
    """Table 12, where a run mined questions: what policies answer by type of question."""
    types = QuestionTypes(questions)
    return _grid("12", "Answers by type of question", types.metrics(sides), sides, types, (), _shared(questions))


def _shared(questions: Questions) -> list[str]:
    if questions.same:
        return []
    if questions.n_shared:
        return [f"The runs asked different questions; numbers are over the {questions.n_shared:,} that all asked."]
    return ["The runs share no question: every row is over the run's own, and none is bold."]


def _verdicts(sides: Sequence[Side]) -> Iterable[str]:
    for side in sides:
        for policy in dict.fromkeys(tax.policy for tax in side.numbers.tax):
            told = [tax for tax in side.numbers.tax if tax.policy == policy]
            words = ", ".join(f"{tax.metric.split('.')[1]} {tax.verdict}" for tax in told)
            yield f"bound {told[0].bound}, {side.label}/{policy}: {words}."


def _is_labeler(judge: str) -> bool:
    return judge == _LABELER or judge.startswith(f"{_LABELER}-")


def _grid(
    number: str,
    title: str,
    metrics: Sequence[str],
    sides: Sequence[Side],
    numbers: Numbers,
    quoted: Sequence[Quoted],
    notes: Sequence[str],
) -> Grid:
    columns = [_column(metric) for metric in metrics]
    rows = [(system, [_cell(system, column, numbers) for column in columns]) for system in systems(sides)]
    best = with_best(columns, rows, numbers)
    lines = [Line(system.side.label, system.policy, cells) for (system, _), cells in zip(rows, best, strict=True)]
    lines += [line for one in quoted if (line := one.line(columns)) is not None]
    return Grid(number, title, columns, lines, [*notes, RULE] if len(rows) > 1 and columns else list(notes))


def _column(metric: str) -> Column:
    info = metric_info(metric)
    return Column(metric, info.label, info.decimals, info.better)


def _cell(system: System, column: Column, numbers: Numbers) -> Cell:
    found = numbers.find(system, column.metric)
    if found is None:
        return Cell(why=_why_not(system.side, column.metric))
    if found.estimate.value is None:
        return Cell(source=found.source, why=found.estimate.method)
    return Cell(found.estimate, found.source)


def _why_not(side: Side, metric: str) -> str:
    """Why a run has no number of this metric."""
    if metric.startswith(("task.", "vqa.")):
        block = side.recipe.questions
        return f"{side.label} did not ask these questions" if block else f"{side.label} asked no questions"
    judge = metric.partition(".")[0].removeprefix("lc-")
    if judge in side.missing:
        return f"{judge} is not measured in {side.label}: {side.missing[judge]}"
    if judge not in side.judges:
        return f"{judge} is not among the metrics of {side.label}"
    return f"the estimates of {side.label} hold no {metric}"
