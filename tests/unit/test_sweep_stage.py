"""The rounds of a sweep: equal trials are one piece of work, and what fails is told without texts."""

from __future__ import annotations

import multiprocessing
import os
from types import SimpleNamespace

import pytest

from chexalign.errors import UserError
from chexalign.recipe.load import load_recipe
from chexalign.run_folder import SFT
from chexalign.sweep import stage, trials
from chexalign.sweep.search import Asked
from chexalign.sweep.trials import Outcome, Trial, TrialFolder, arm_of, choose


@pytest.fixture
def sweep():
    recipe = load_recipe("quick", ["workers=6"])
    chosen = choose(recipe, "dpo_label", None)

    def make(values):
        return arm_of("quick", (), chosen, values, "--range")

    return stage.Sweep(chosen, {"train.epochs": ("1", "2")}, 0, make, workers=3)


@pytest.fixture
def folder(tmp_path) -> TrialFolder:
    return TrialFolder(tmp_path / "run", tmp_path / "own", SFT)


def test_trials_with_equal_parameters_are_carried_out_once_and_told_each(sweep, folder, monkeypatch, capsys):
    carried_out: list[Trial] = []

    def outcomes(found, workers):
        carried_out.extend(found)
        reasons = [None, "No pairs.", None]
        return [Outcome(trial.name, reason, 1.0) for trial, reason in zip(found, reasons, strict=True)]

    told = []
    search = SimpleNamespace(tell=lambda number, **how: told.append((number, how["score"], how["reason"])))
    score = iter([0.5, None])
    ruler = SimpleNamespace(run=folder, lc="lc-chexpert", measure=lambda name: name, score=lambda _: next(score))
    monkeypatch.setattr(stage, "_outcomes", outcomes)
    asked = [Asked(i, {"train.epochs": epochs}) for i, epochs in enumerate(["1", "2", "1.0", "3"])]
    stage._round(sweep, search, ruler, asked)
    assert len(carried_out) == 3
    assert {trial.recipe.workers for trial in carried_out} == {2}
    assert [trial.run.trial for trial in carried_out] == [trial.name for trial in carried_out]
    unscored = "The judge could score none of the reports."
    assert told == [(0, 0.5, None), (2, 0.5, None), (1, None, "No pairs."), (3, None, unscored)]
    assert "trial 2 (train.epochs=1.0): lc-chexpert 0.500" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("The loss is nan.", "It cannot go on.", "Lower it."), "The loss is nan. It cannot go on."),
        (RuntimeError("text of a report"), "RuntimeError in test_sweep_stage.py line "),
    ],
)
def test_a_failure_is_told_by_its_own_words_only_where_these_hold_no_text(sweep, folder, monkeypatch, error, reason):
    def fail(self):
        raise error

    monkeypatch.setattr(trials.Workflow, "ref_logps", fail)
    name, recipe = sweep.chosen.trial(sweep.arm_of({"train.epochs": "2"}))
    outcome = Trial(name, recipe, folder, sweep.chosen.select).carry_out()
    assert outcome.reason is not None
    assert outcome.reason.startswith(reason)
    assert "text of a report" not in outcome.reason


def test_each_worker_has_one_gpu_of_those_that_the_sweep_was_given(monkeypatch):
    monkeypatch.setattr(stage.processes, "end_with_parent", lambda: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    gpus, counter, found = stage._gpus(), multiprocessing.Value("i", 0), []
    for _ in range(3):
        stage._prepare_worker(counter, gpus)
        found.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert found == ["2", "5", "2"]
