"""What a report takes from a run: which cases, whose labels, which curves and stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chexalign import artifact
from chexalign.evaluate.reports import PolicyResults
from chexalign.present import collect
from chexalign.present.data import BASELINE, CONTROL
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey
from chexalign.store import Manifest
from chexalign.types import Study

N = 30
KEY = StageKey("train", {}, {}, 11)


def study(number: int) -> Study:
    return Study(f"s{number:02}", f"p{number:02}", (), None, "The lungs are clear.", None, (), "test", "hand", "none")


STUDIES = [study(i) for i in range(N)]


def results(name: str, values: list[float], metric: str = "chexpert") -> PolicyResults:
    return PolicyResults(name, np.zeros((N, 14), dtype=bool), {metric: np.array(values)})


BEFORE = results(BASELINE, [0.0] * N)


def test_cases_are_those_that_changed_most_and_others_by_lot():
    change = [0.0] * N
    change[4], change[7], change[9], change[12], change[20], change[21] = 1.0, 0.8, 0.6, -1.0, -0.8, -0.6
    chosen = collect._chosen_cases(STUDIES, [BEFORE, results("arm", change)], seed=1)
    assert chosen[:3] == [4, 7, 9]
    assert set(chosen[3:6]) == {12, 20, 21}
    assert len(set(chosen)) == len(chosen) == 12
    assert chosen == collect._chosen_cases(STUDIES, [BEFORE, results("arm", change)], seed=1)
    other = collect._chosen_cases(STUDIES, [BEFORE, results("arm", change)], seed=2)
    assert chosen[:6] == other[:6]
    assert chosen[6:] != other[6:]


def test_the_control_is_no_arm():
    moved = results(CONTROL, [1.0] + [0.0] * (N - 1))
    arm = results("arm", [0.0, 1.0] + [0.0] * (N - 2))
    assert collect._chosen_cases(STUDIES, [BEFORE, moved, arm], seed=1)[0] == 1


def test_an_unscored_report_counts_as_unchanged():
    change = [float("nan")] * (N - 2) + [0.5, -0.5]
    chosen = collect._chosen_cases(STUDIES, [BEFORE, results("arm", change)], seed=1)
    assert (chosen[0], chosen[5]) == (N - 2, N - 1)


@pytest.mark.parametrize("policies", [[BEFORE], [BEFORE, results("arm", [0.0] * N, "rouge_l")]])
def test_without_label_agreement_all_cases_are_drawn_by_lot(policies):
    assert collect._ranked(policies) is None
    chosen = collect._chosen_cases(STUDIES, policies, seed=1)
    assert len(set(chosen)) == 12
    assert chosen != sorted(chosen)


def test_few_studies_are_all_shown_once():
    few = STUDIES[:5]
    before, after = (
        PolicyResults(n, np.zeros((5, 14), dtype=bool), {"chexpert": np.arange(5.0)}) for n in ("sft", "a")
    )
    assert sorted(collect._chosen_cases(few, [before, after], seed=1)) == list(range(5))


def test_labels_of_a_text_are_its_findings_alone():
    assert collect._labels("The heart is enlarged. There is a small left pleural effusion.") == [
        "Cardiomegaly",
        "Pleural Effusion",
    ]
    assert collect._labels("The lungs are clear. No effusion.") == []


def test_curves_are_the_logged_numbers_by_step(tmp_path: Path):
    run = RunFolder(tmp_path)
    folder = run.policy("dpo_label")
    folder.mkdir(parents=True)
    log = [{"step": 1, "loss": 0.69, "accuracy": 0.0}, {"step": 2, "loss": 0.6, "lr": 1e-4}]
    artifact.finish(folder, KEY, rows=2, seconds=1.0, log=log)
    loss, accuracy = collect.training_curves(run)
    assert (loss.stage, loss.name, tuple(loss.x), tuple(loss.y)) == ("dpo_label", "loss", (1, 2), (0.69, 0.6))
    assert (accuracy.name, tuple(accuracy.x)) == ("accuracy", (1,))


def test_stages_are_told_with_their_drops_and_processes(tmp_path: Path):
    run = RunFolder(tmp_path)
    for folder, parts, dropped in ((run.studies.folder, 3, {"no_image": 2}), (run.pairs("a").folder, 1, {})):
        folder.mkdir(parents=True)
        Manifest("s", "f", {}, {}, 1, 10, dropped, "c", 1.5, parts=parts, extra={"workers": 2}).save(folder)
    studies, pairs = collect.stage_rows(run)
    assert (studies.name, studies.rows, studies.dropped, studies.worker) == (
        "studies",
        10,
        {"no_image": 2},
        "2 processes",
    )
    assert (pairs.name, pairs.worker, pairs.seconds) == ("pairs/a", "", 1.5)


def test_a_run_without_trainings_and_stages_has_none(tmp_path: Path):
    assert collect.training_curves(RunFolder(tmp_path)) == []
    assert collect.stage_rows(RunFolder(tmp_path)) == []


def test_what_trainings_warned_of_is_told(tmp_path: Path):
    run = RunFolder(tmp_path)
    checks = {
        "warned": {"prefix_sharing": {"shared": True}, "warnings": {"length_drift": "margins follow length"}},
        "slow": {"prefix_sharing": {"shared": False, "reason": "its attention takes no mask"}, "warnings": {}},
        "fine": {"prefix_sharing": {"shared": True}, "warnings": {}},
    }
    for name, found in checks.items():
        run.policy(name).mkdir(parents=True)
        artifact.finish(run.policy(name), KEY, rows=1, seconds=1.0, extra={"checks": found})
    assert collect.training_notes(run, [*checks, "missing"]) == [
        "While warned was trained: margins follow length.",
        "slow was trained without sharing prompts: its attention takes no mask.",
    ]
