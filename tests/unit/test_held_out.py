"""Held-out rows: who they are, what their loss is, and which weights are left because of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from chexalign.train import callbacks
from chexalign.train.freeze import freeze
from chexalign.train.held_out import HeldOut, held_out_prompts
from chexalign.train.prefix import separate_logps
from chexalign.train.rows import Collator, vision_inputs
from tests import fits


@pytest.fixture
def job() -> tuple[Any, list[Any], Any]:
    """A model, twelve rows, and their images."""
    model = fits.model_of()
    freeze(model, ["vision"])
    rows, vision = fits.rows_for("dpo", model, rows=12)
    return model, rows, vision


def run(job: tuple[Any, list[Any], Any], folder: Path, **changes: Any) -> Any:
    model, rows, vision = job
    more = {"held_out": rows[8:], "eval_steps": 1, "epochs": 3, **changes}
    return fits.train(model, rows[:8], fits.OBJECTIVES["dpo"][0], folder, vision=vision, **more)


@torch.no_grad()
def loss_of(model: Any, rows: list[Any], vision: Any) -> float:
    model.eval()
    batch = Collator(vision, 0)(list(enumerate(rows)))
    logps = separate_logps(model, batch, vision_inputs(batch))
    objective = fits.OBJECTIVES["dpo"][0]
    return (objective(logps, batch, lambda t: t).total / objective.items(batch)).item()


def test_prompts_are_held_out_by_their_own_ids() -> None:
    prompts = [f"p{i}" for i in range(40)]
    found = held_out_prompts([*prompts, *prompts], share=0.25, seed=1)
    assert len(found) == 10
    assert found == held_out_prompts(reversed(prompts), share=0.25, seed=1)
    assert found != held_out_prompts(prompts, share=0.25, seed=2)
    assert held_out_prompts(prompts[:2], share=0.01, seed=1) < {"p0", "p1"}
    assert len(held_out_prompts(prompts[:2], share=0.01, seed=1)) == 1
    assert held_out_prompts(prompts[:1], share=0.9, seed=1) == set()


def test_the_loss_is_the_mean_over_rows_whatever_the_batch(job: Any, tmp_path: Path) -> None:
    """Four rows at three a time: the short last batch counts for one row."""
    model, rows, vision = job
    log = run(job, tmp_path, global_batch=3, epochs=1, max_steps=1)
    looks = [row["eval_loss"] for row in log.rows if "eval_loss" in row]
    assert looks == [pytest.approx(loss_of(model, rows[8:], vision), rel=1e-5)]


def test_training_is_the_same_with_a_look_or_without(job: Any, tmp_path: Path) -> None:
    log = run(job, tmp_path / "a")
    model = fits.model_of()
    freeze(model, ["vision"])
    plain = run((model, *job[1:]), tmp_path / "b", held_out=())
    losses = [row["loss"] for row in log.rows if "loss" in row]
    assert losses == [row["loss"] for row in plain.rows]


def test_the_weights_of_the_best_look_are_left(job: Any, tmp_path: Path) -> None:
    model, rows, vision = job
    log = run(job, tmp_path, learning_rate=0.05, epochs=4)  # too much: the loss on other rows rises again
    looks = {row["step"]: row["eval_loss"] for row in log.rows if "eval_loss" in row}
    best = min(looks, key=lambda step: looks[step])
    assert best < max(looks)
    assert log.checks["held_out"] == {"rows": 4, "best_step": best, "best_loss": looks[best], "kept_step": best}
    assert loss_of(model, rows[8:], vision) == pytest.approx(looks[best], rel=1e-5)


def test_training_stops_after_looks_without_a_better_loss(job: Any, tmp_path: Path) -> None:
    log = run(job, tmp_path, learning_rate=0.05, epochs=20, patience=2)
    looks = [row["eval_loss"] for row in log.rows if "eval_loss" in row]
    assert len(looks) == looks.index(min(looks)) + 3
    assert len(looks) < 40


def test_without_eval_steps_there_are_ten_looks(job: Any, tmp_path: Path) -> None:
    log = run(job, tmp_path, eval_steps=None, epochs=10)
    assert [row["step"] for row in log.rows if "eval_loss" in row] == list(range(2, 21, 2))


def test_sharded_weights_are_told_to_be_the_last() -> None:
    looks = HeldOut(None, patience=None)
    state = SimpleNamespace(
        global_step=3,
        log_history=[{"step": 1, "eval_loss": 0.5}, {"step": 2, "eval_loss": 0.6}, {"step": 3, "loss": 1}],
    )
    assert looks.take_best(None, state) == {"best_step": 1, "best_loss": 0.5, "kept_step": 3}


@pytest.mark.parametrize(("stop_at", "at"), [(1, "on_step_begin"), (3, "on_step_begin"), (4, "on_step_end")])
def test_an_interruption_changes_neither_the_best_weights_nor_when_training_stops(
    stop_at: int, at: str, job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "SAVE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "_SAVE_SHARE", 0.0)
    settings = {"learning_rate": 0.05, "epochs": 20, "patience": 3}
    whole = run(job, tmp_path / "whole", **settings)
    assert whole.checks["held_out"]["best_step"] < len([row for row in whole.rows if "loss" in row]) == 5
    truth = fits.weights(job[0])

    def interrupt(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == stop_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Progress, at, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(fresh(job), tmp_path / "again", **settings)
    again = fresh(job)
    log = run(again, tmp_path / "again", **settings)
    assert log.checks["held_out"] == whole.checks["held_out"]
    assert len(log.rows) == len(whole.rows)
    assert fits.equal(fits.weights(again[0]), truth)


def fresh(job: tuple[Any, list[Any], Any]) -> tuple[Any, list[Any], Any]:
    model = fits.model_of()
    freeze(model, ["vision"])
    return model, *job[1:]
