"""What a recipe asks of the hardware is understood, and checked before anything is spent."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from chexalign.cli.hardware import TRACKERS, check_hardware
from chexalign.errors import UserError
from chexalign.recipe import ComputeSpec, Recipe
from chexalign.recipe.load import load_recipe
from chexalign.train import launch
from chexalign.train.settings import Settings, settings_of


def recipe(*overrides: str) -> Recipe:
    return load_recipe("quick", list(overrides))


def problem(*overrides: str) -> UserError:
    with pytest.raises(UserError) as caught:
        check_hardware(recipe(*overrides))
    return caught.value


def test_a_recipe_without_hardware_is_written_as_before() -> None:
    plain = recipe().to_dict()
    assert "compute" not in plain
    assert "lora" not in plain["policy"]
    assert {"max_steps", "hold_out", "eval_steps", "patience"}.isdisjoint(plain["arms"]["dpo_label"]["train"])
    assert "max_steps" not in plain["sft"]


def test_what_changes_no_number_changes_no_digest() -> None:
    same = recipe("compute={data_workers: 2, trackers: [tensorboard]}")
    assert same.digest() == recipe().digest()
    assert recipe("compute.precision=bf16").digest() != recipe().digest()
    assert recipe("compute.per_device_batch=2").digest() != recipe().digest()
    assert same.compute is not None
    assert same.compute.numerics() == {}


def test_every_key_becomes_a_setting() -> None:
    made = recipe("train.max_steps=7", "train.hold_out=0.1", "train.eval_steps=3", "train.patience=2")
    compute = ComputeSpec(
        precision="bf16", per_device_batch=4, gradient_checkpointing=True, data_workers=1, trackers=["tensorboard"]
    )
    spec = made.resolved_arms()["dpo_label"].train
    assert settings_of(spec, compute, threads=3) == Settings(
        learning_rate=spec.learning_rate,
        epochs=spec.epochs,
        global_batch=spec.global_batch,
        warmup_ratio=spec.warmup_ratio,
        max_grad_norm=spec.max_grad_norm,
        max_steps=7,
        eval_steps=3,
        patience=2,
        per_device=4,
        precision="bf16",
        gradient_checkpointing=True,
        threads=3,
        data_workers=1,
        trackers=("tensorboard",),
    )
    assert settings_of(recipe("sft.max_steps=5").sft, None, threads=1).max_steps == 5


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["train.patience=2"], "asks for held-out pairs"),
        (["train.eval_steps=2"], "asks for held-out pairs"),
        (["train.hold_out=1"], "less than 1"),
        (["policy.lora={r: 0}"], "at least 1"),
        (["policy.lora={r: 4}", "policy.freeze=[language]"], "adapts the language model"),
        (["policy.lora={quantize: int8}"], "nf4"),
        (["compute.precision=fp16"], "fp32"),
        (["compute.nodes=2"], "compute takes: precision"),
    ],
)
def test_a_mistake_is_told(overrides: list[str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        recipe(*overrides)
    assert told in str(caught.value)


def test_the_vision_tower_may_be_trained() -> None:
    assert recipe("policy.freeze=[]").policy.freeze == []


def test_a_package_that_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "chexalign[lora]" in problem("policy.lora={r: 4}").fix
    assert "wandb is not installed" in problem("compute.trackers=[wandb]").what.replace("the package ", "")
    assert "sends numbers to: tensorboard" in problem("compute.trackers=[wanb]").why


def test_a_tracker_that_cannot_be_kept_offline_is_refused(monkeypatch) -> None:
    monkeypatch.delenv("CHEXALIGN_ONLINE", raising=False)
    assert "where this machine stands" in problem("compute.trackers=[codecarbon]").why
    monkeypatch.setenv("CHEXALIGN_ONLINE", "1")
    assert "codecarbon is not installed" in problem("compute.trackers=[codecarbon]").what.replace("the package ", "")


def test_the_trackers_are_those_of_transformers() -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    assert set(TRACKERS) <= set(INTEGRATION_TO_CALLBACK)


def test_batches_that_the_processes_cannot_share_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    check_hardware(recipe())
    assert "2 processes" not in problem("compute.per_device_batch=3").what
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert "cannot be cut into 3 processes" in problem().what


def test_one_process_is_the_first_and_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    done: list[Any] = []
    assert launch.n_processes() == 1
    assert launch.is_first()
    assert launch.first_alone(lambda: done.append(1)) is None
    assert launch.first_decides(lambda: 5) == 5
    launch.finish()
    assert done == [1]


def test_verbs_that_cannot_share_their_work_refuse_several_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from chexalign.cli import main

    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main.main(["evaluate", "quick"]) == 2
    assert "launched over several processes" in capsys.readouterr().err


def test_the_client_of_a_server_is_missed_before_anything_is_spent(monkeypatch) -> None:
    server = "sample.endpoint={url: 'http://127.0.0.1:8000/v1', model: m}"
    check_hardware(recipe(server))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "openai" else found(name))
    assert "chexalign[endpoint]" in problem(server).fix
    check_hardware(recipe())
