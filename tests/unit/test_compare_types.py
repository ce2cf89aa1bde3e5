"""Runs that mined questions side by side: numbers by type of question are those of the runs, or of what they share."""

from __future__ import annotations

import json

import pytest

from chexalign.cli import main
from chexalign.compare.comparison import compare_runs
from chexalign.evaluate.stage import read_numbers, write_estimates
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey
from tests.compared_runs import finished, finished_run, noisy
from tests.mined_reports import ARMS, SOURCE, mined_run, recipe

COLUMNS = [
    *(f"vqa.{group}.accuracy" for group in ("all", "basic", "region", "compare", "verify", "choose", "query")),
    *("vqa.all.micro_f1", "vqa.all.ece", "vqa.hallucination"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [mined_run(root / name) for name in ("one", "two")]


def types(folders):
    (grid,) = [grid for grid in compare_runs(folders).grids if grid.number == "12"]
    return grid


def test_numbers_are_those_of_the_runs_and_the_best_is_bold(runs):
    grid = types([runs[0].root])
    assert [column.metric for column in grid.columns] == COLUMNS
    own = {(e.metric, e.policy): e for e in read_numbers(runs[0]).estimates if e.baseline is None}
    assert [line.system for line in grid.lines] == ["sft", *ARMS]
    for line in grid.lines:
        assert [cell.estimate for cell in line.cells] == [own[metric, line.system] for metric in COLUMNS]
    best = {line.system for line in grid.lines if line.cells[0].best}
    assert best == {"dpo_mined"}, "85% of its answers are right, and 70% of the next"


def test_the_same_answers_in_two_runs_are_not_bold(runs):
    grid = types([run.root for run in runs])
    assert len(grid.lines) == 2 * (1 + len(ARMS))
    assert not any(line.cells[0].best for line in grid.lines)
    assert not grid.notes[:-1]


def test_runs_that_asked_different_questions_are_compared_on_what_they_share(runs, tmp_path):
    fewer = RunFolder(tmp_path / "fewer")
    mined_run(fewer.root)
    asked = [q for q in fewer.questions(SOURCE).iter_rows() if q.split == "test"]
    kept = {q.id for q in asked[: len(asked) // 2]}
    finished(fewer.questions(SOURCE), [q for q in asked if q.id in kept])
    for policy in ("sft", *ARMS):
        rows = [a for a in fewer.answers(SOURCE, policy).iter_rows() if a.question_id in kept]
        finished(fewer.answers(SOURCE, policy), rows)
    made = recipe("fewer")
    write_estimates(
        fewer,
        StageKey("estimates", {}, {}, made.seed),
        spec=made.evaluate,
        policies=["sft", "sft_shuffled", *ARMS],
        judges=[],
        learned_from={},
        questions=made.questions,
    )
    grid = types([runs[0].root, fewer.root])
    both = [line for line in grid.lines if line.system == "dpo_mined"]
    assert [line.cells[0].estimate.n for line in both] == [len(kept)] * 2
    assert [cell.estimate.value for cell in both[0].cells] == [cell.estimate.value for cell in both[1].cells]
    assert all(cell.estimate.policy == "dpo_mined" for cell in both[0].cells)
    assert grid.notes[0] == f"The runs asked different questions; numbers are over the {len(kept)} that all asked."


def test_runs_that_mined_nothing_have_no_such_table(tmp_path):
    scores = {name: {"rouge_l": noisy(30, 0.5, seed=1)} for name in ("sft", "dpo")}
    run = finished_run(tmp_path / "plain", scores, answers={name: [True, False] * 15 for name in ("sft", "dpo")})
    assert "12" not in [grid.number for grid in compare_runs([run.root]).grids]


def test_the_command_writes_the_table(runs, capsys):
    assert main.main(["compare", str(runs[0].root), "--format", "csv"]) == 0
    assert "vqa.hallucination" in capsys.readouterr().out
    assert json.loads(runs[0].estimates.read_text())
