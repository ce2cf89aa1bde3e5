"""Checkpoints: what is sealed, what is taken up again, and that it is really loaded."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from chexalign.errors import UserError
from chexalign.train import callbacks
from chexalign.train.callbacks import CLOCK_FIELDS
from chexalign.train.fit import FitLog
from chexalign.train.freeze import freeze
from chexalign.train.resume import SEAL, STEPS, WEIGHTS, clear_others, forget, last_sealed, load_state, save_state, seal
from tests import fits, vlms


class StoppedError(Exception):
    """Stands for a killed process."""


class Stopping:
    """An objective that stops the process at one of its calls."""

    def __init__(self, name: str, at: int) -> None:
        self.inner, self.at, self.calls = fits.OBJECTIVES[name][0], at, 0

    def items(self, batch: Any) -> torch.Tensor:
        return self.inner.items(batch)

    def __call__(self, logps: Any, batch: Any, gather: Any) -> Any:
        self.calls += 1
        if self.calls > self.at:
            raise StoppedError
        return self.inner(logps, batch, gather)


@pytest.fixture(autouse=True, scope="module")
def _save_each_step() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "SAVE_EVERY_SECONDS", 0.0)
        patch.setattr(callbacks, "_SAVE_SHARE", 0.0)
        yield


def start(folder: Path, name: str = "dpo", *, stop_at: int = 10**6, **changes: Any) -> tuple[Any, FitLog]:
    """A training of six steps; its model and log."""
    model = fits.model_of()
    freeze(model, ["vision"])
    rows, vision = fits.rows_for(name, model)
    settings = {"epochs": 3, "weight_decay": 0.01, "learning_rate": 1e-2, **changes}
    return model, fits.train(model, rows, Stopping(name, stop_at), folder, vision=vision, **settings)


def stopped(folder: Path, at: int, name: str = "dpo", **changes: Any) -> None:
    with pytest.raises(StoppedError):
        start(folder, name, stop_at=at, **changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, FitLog]:
    """DPO that nothing stopped."""
    return start(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def halfway(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of DPO that was stopped after four steps; copy it."""
    folder = tmp_path_factory.mktemp("halfway")
    stopped(folder, 4)
    return folder


@pytest.fixture
def again(halfway: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(halfway, tmp_path / "again"))


def without_clock(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k not in CLOCK_FIELDS} for row in rows]


def assert_same(a: tuple[Any, FitLog], b: tuple[Any, FitLog]) -> None:
    assert fits.equal(fits.weights(a[0]), fits.weights(b[0]))
    assert without_clock(a[1].rows) == without_clock(b[1].rows)


@pytest.mark.parametrize(
    "name", [n if n in ("sft", "kto") else pytest.param(n, marks=pytest.mark.slow) for n in fits.OBJECTIVES]
)
def test_stopped_training_ends_in_the_same_weights_and_log(name: str, tmp_path: Path) -> None:
    whole = start(tmp_path / "whole", name)
    stopped(tmp_path / "again", 2, name)
    stopped(tmp_path / "again", 3, name)  # its steps count from the second checkpoint
    assert_same(start(tmp_path / "again", name), whole)


def test_stopped_between_the_parts_of_an_update_it_does_so_too(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole", per_device=2)
    stopped(tmp_path / "again", 5, per_device=2)
    assert_same(start(tmp_path / "again", per_device=2), whole)


def test_with_dropout_in_adapters_too(tmp_path: Path) -> None:
    """The state of the random numbers is part of a checkpoint."""
    peft = pytest.importorskip("peft")

    def adapted(folder: Path, stop_at: int = 10**6) -> tuple[Any, FitLog]:
        model = fits.model_of()
        rows, vision = fits.rows_for("dpo", model)
        torch.manual_seed(1)
        model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"], lora_dropout=0.5))
        return model, fits.train(model, rows, Stopping("dpo", stop_at), folder, vision=vision, epochs=3)

    whole = adapted(tmp_path / "whole")
    with pytest.raises(StoppedError):
        adapted(tmp_path / "again", stop_at=3)
    assert_same(adapted(tmp_path / "again"), whole)


def test_finished_steps_are_not_done_again(again: Path, whole: tuple[Any, FitLog]) -> None:
    stopped(again, 0)  # its first step raises, and nothing is lost
    kept = last_sealed(again / STEPS, "f")
    assert kept is not None
    assert kept.name == "checkpoint-4"
    assert_same(start(again, stop_at=2), whole)


def test_the_time_before_an_interruption_is_counted(again: Path) -> None:
    _, log = start(again)
    assert log.seconds == pytest.approx(sum(row["seconds"] for row in log.rows))
    assert len([row for row in log.rows if row["seconds"] > 0]) == len(log.rows) > 4


def test_without_a_checkpoint_training_starts_over(
    whole: tuple[Any, FitLog], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "SAVE_EVERY_SECONDS", 20.0)
    stopped(tmp_path / "again", 3)
    assert last_sealed(tmp_path / "again" / STEPS, "f") is None
    assert_same(start(tmp_path / "again"), whole)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGE = {
    "no seal": lambda c: (c / SEAL).unlink(),
    "half a seal": lambda c: cut(c / SEAL),
    "cut weights": lambda c: cut(c / WEIGHTS),
    "a flipped bit": lambda c: flip(c / WEIGHTS),
    "no weights": lambda c: (c / WEIGHTS).unlink(),
    "a cut optimizer": lambda c: cut(c / "optimizer.pt"),
    "no log": lambda c: (c / "trainer_state.json").unlink(),
    "one file more": lambda c: (c / "more").write_text(""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(damage: str, again: Path) -> None:
    steps = again / STEPS
    assert sorted(c.name for c in steps.iterdir()) == ["checkpoint-3", "checkpoint-4"]
    DAMAGE[damage](steps / "checkpoint-4")
    assert last_sealed(steps, "f") == steps / "checkpoint-3"


def test_from_the_one_before_training_ends_in_the_same_weights(again: Path, whole: tuple[Any, FitLog]) -> None:
    cut(again / STEPS / "checkpoint-4" / WEIGHTS)
    assert_same(start(again), whole)


def test_the_checkpoint_of_another_training_is_not_taken_up(again: Path, tmp_path: Path) -> None:
    """A user who lowers the learning rate after a loss of NaN does not go on from the weights that led there."""
    other = {"learning_rate": 1e-3, "fingerprint": "g"}
    assert last_sealed(again / STEPS, "g") is None
    assert_same(start(again, **other), start(tmp_path / "whole", **other))


def test_what_is_kept_and_what_is_forgotten(tmp_path: Path) -> None:
    steps = tmp_path / STEPS
    for step in (1, 10, 9):
        (steps / f"checkpoint-{step}").mkdir(parents=True)
        (steps / f"checkpoint-{step}" / "weights").write_text(str(step))
        seal(steps / f"checkpoint-{step}", "f")
    newest = last_sealed(steps, "f")
    assert newest == steps / "checkpoint-10"  # by number, not by name
    clear_others(steps, keep=newest)
    assert list(steps.iterdir()) == [newest]
    forget(tmp_path)
    forget(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert last_sealed(steps, "f") is None


def test_the_log_of_a_checkpoint_is_plain_json(halfway: Path) -> None:
    state = json.loads((halfway / STEPS / "checkpoint-4" / "trainer_state.json").read_text())
    assert [row["step"] for row in state["log_history"]] == [1, 2, 3, 4]
    assert state["log_history"][0]["loss"] == pytest.approx(math.log(2), abs=1e-5)


# What a checkpoint holds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", vlms.FAMILIES)
def test_weights_after_loading_are_those_that_were_saved(name: str, tmp_path: Path) -> None:
    attn = vlms.FAMILIES[name].attentions[0]
    saved, other = fits.model_of(name, attn), fits.model_of(name, attn, seed=1)
    assert not fits.equal(fits.weights(saved), fits.weights(other))
    save_state(saved, tmp_path)
    load_state(other, tmp_path)
    assert fits.equal(fits.weights(saved), fits.weights(other))


def test_a_stock_trainer_loads_nothing_from_a_checkpoint_of_llava(tmp_path: Path) -> None:
    """Why there is a format of our own: save_pretrained writes other names than the model in memory has.

    Should this fail some day, transformers has mended it, and `AlignTrainer._save` may go.
    """
    from transformers import Trainer, TrainingArguments

    saved, other = fits.model_of(), fits.model_of(seed=1)
    before = fits.weights(other)
    saved.save_pretrained(tmp_path / "checkpoint")
    arguments = TrainingArguments(str(tmp_path / "out"), report_to="none", use_cpu=True, disable_tqdm=True)
    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    Trainer(other, arguments)._load_from_checkpoint(str(tmp_path / "checkpoint"))
    after = fits.weights(other)
    assert not fits.equal(after, fits.weights(saved))
    assert fits.equal(before, after)


def test_only_what_training_can_change_is_saved(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    model = fits.model_of()
    model.register_buffer("seen", torch.tensor([3.0]))
    freeze(model, ["vision", "language"])
    save_state(model, tmp_path)
    names = set(load_file(tmp_path / WEIGHTS))
    assert "seen" in names
    assert {n for n, p in model.named_parameters() if p.requires_grad} <= names
    assert not names & {n for n, p in model.named_parameters() if not p.requires_grad}


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = fits.model_of()
    save_state(model, tmp_path)
    freeze(model, ["vision"])
    with pytest.raises(UserError, match="does not fit the model"):
        load_state(model, tmp_path)


def test_tied_weights_are_saved_once_and_stay_tied(tmp_path: Path) -> None:
    """The tiny policy ties its head to its embeddings."""
    from chexalign.demo.tiny import build_model, train_tokenizer

    tokenizer = train_tokenizer(["The heart is not enlarged."], vocabulary=300)
    saved, other = build_model(tokenizer, seed=1), build_model(tokenizer, seed=2)
    save_state(saved, tmp_path)
    load_state(other, tmp_path)
    assert fits.equal(fits.weights(saved), fits.weights(other))
    assert other.lm_head.weight.data_ptr() == other.get_input_embeddings().weight.data_ptr()
