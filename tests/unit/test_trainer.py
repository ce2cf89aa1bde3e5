"""What the trainer checks: the shared path, the first loss, and that every number is finite."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from chexalign.errors import UserError
from chexalign.policy.families_causal import Family
from chexalign.train import callbacks, prefix
from chexalign.train.fit import FitLog
from chexalign.train.freeze import freeze
from chexalign.train.objective import StepLoss
from chexalign.train.order import training_order
from chexalign.train.resume import STEPS, last_sealed
from tests import fits

REFERENCED = [name for name, (_, _, needs_ref) in fits.OBJECTIVES.items() if needs_ref]


def shifted(rows: list[Any], by: tuple[float, ...]) -> list[Any]:
    """The rows with other log-probs under the reference policy."""
    return [dataclasses.replace(r, ref=tuple(a + b for a, b in zip(r.ref, by, strict=False))) for r in rows]


# Step 0 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [(1.0, 0.0, 0.0), (1.0, 1.0, 1.0)], ids=["one", "all"])
@pytest.mark.parametrize("name", REFERENCED)
def test_a_stale_reference_stops_training_before_a_weight_changes(
    name: str, by: tuple[float, ...], tmp_path: Path
) -> None:
    """Also where both sides are off alike, which no loss of two log-ratios would notice."""
    model = fits.model_of()
    rows, vision = fits.rows_for(name, model)
    before = fits.weights(model)
    with pytest.raises(UserError) as caught:
        fits.train(model, shifted(rows, by), fits.OBJECTIVES[name][0], tmp_path, vision=vision)
    assert len(str(caught.value).splitlines()) == 3
    assert caught.value.what.startswith("The first lo")
    assert "ref_logps" in caught.value.fix
    assert fits.equal(before, fits.weights(model))


def test_a_reference_of_other_weights_stops_training(tmp_path: Path) -> None:
    model = fits.model_of()
    rows, vision = fits.rows_for("dpo", fits.model_of(seed=1))
    with pytest.raises(UserError, match=r"for a policy that equals its reference it is 0\.69315"):
        fits.train(model, rows, fits.OBJECTIVES["dpo"][0], tmp_path, vision=vision)


def test_a_policy_that_is_not_its_reference_is_not_checked(tmp_path: Path) -> None:
    model = fits.model_of()
    rows, vision = fits.rows_for("dpo", model)
    objective = fits.OBJECTIVES["dpo"][0]
    log = fits.train(model, shifted(rows, (1.0, 0.0)), objective, tmp_path, vision=vision, starts_at_ref=False)
    assert log.rows[0]["loss"] != pytest.approx(math.log(2), abs=1e-3)


def test_a_resumed_training_is_not_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has moved away from its reference."""
    monkeypatch.setattr(callbacks, "SAVE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "_SAVE_SHARE", 0.0)
    model = fits.model_of()
    rows, vision = fits.rows_for("dpo", model)
    settings = {"learning_rate": 1e-2, "epochs": 3}
    with pytest.raises(UserError, match="loss is nan at step 4"):
        fits.train(model, rows, Spoiled("dpo", at=4), tmp_path, vision=vision, **settings)
    again = fits.model_of()
    log = fits.train(again, rows, fits.OBJECTIVES["dpo"][0], tmp_path, vision=vision, **settings)
    assert len(log.rows) == 6
    assert log.rows[4]["loss"] < 0.6


# The shared path against the separate one -----------------------------------------------------------------------------


def trained(model: Any, folder: Path, name: str = "llava_llama") -> FitLog:
    freeze(model, ["vision"])
    rows, vision = fits.rows_for("dpo", model, name=name)
    return fits.train(model, rows, fits.OBJECTIVES["dpo"][0], folder, vision=vision)


@pytest.fixture
def separate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The weights after training on separate sequences alone."""
    with monkeypatch.context() as patch:
        patch.setattr(Family, "reason", "told so")
        model = fits.model_of()
        log = trained(model, tmp_path / "separate")
    assert log.checks["prefix_sharing"]["reason"] == "told so"
    assert log.checks["prefix_sharing"]["disagreement"] is None
    return fits.weights(model)


def assert_fell_back(found: Any, separate: dict[str, torch.Tensor], log: FitLog, err: str, why: str) -> None:
    check = log.checks["prefix_sharing"]
    assert check["shared"] is False
    assert why in check["reason"]
    assert f"warning: prefix sharing is off for this model, training is slower: {check['reason']}" in err
    assert fits.equal(separate, fits.weights(found))


def test_a_wrong_mask_is_noticed_and_training_is_right_without_sharing(
    separate: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    everything = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    monkeypatch.setattr(Family, "_native", lambda self, mask, model: (mask[:, None] | everything).tril())
    model = fits.model_of()
    log = trained(model, tmp_path)
    assert log.checks["prefix_sharing"]["disagreement"] > 1e-3
    assert_fell_back(model, separate, log, capsys.readouterr().err, "log-probs differ by")


def test_a_shared_path_that_raises_is_left_too(
    separate: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def inputs(*_: Any) -> dict[str, Any]:
        raise IndexError("no such axis\nand a second line")

    monkeypatch.setattr(Family, "inputs", inputs)
    model = fits.model_of()
    log = trained(model, tmp_path)
    assert_fell_back(model, separate, log, capsys.readouterr().err, "its forward refuses shared prompts (IndexError: ")
    assert "\n" not in log.checks["prefix_sharing"]["reason"]


def test_a_mistake_of_the_user_is_no_reason_to_fall_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def inputs(*_: Any) -> dict[str, Any]:
        raise UserError("An example is too long.", "It has more tokens than the window.", "Leave it out.")

    monkeypatch.setattr(Family, "inputs", inputs)
    with pytest.raises(UserError, match="too long"):
        trained(fits.model_of(), tmp_path)


def test_an_attention_that_takes_no_mask_trains_on_separate_sequences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flash attention cannot run here: the implementation is renamed for the question alone."""
    monkeypatch.setattr("chexalign.policy.families_causal._OBEYED", ("eager",))
    log = trained(fits.model_of(), tmp_path)
    assert "attention implementation sdpa takes no mask" in log.checks["prefix_sharing"]["reason"]
    assert log.rows[-1]["step"] == 2


def test_sharing_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    separate_logps = prefix.separate_logps
    monkeypatch.setattr("chexalign.train.sharing.separate_logps", lambda *a: calls.append(1) or separate_logps(*a))
    log = trained(fits.model_of(), tmp_path)
    assert calls == [1]
    assert log.checks["prefix_sharing"]["disagreement"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "gemma3", "paligemma", "idefics3", "smolvlm", "internvl"])
def test_every_family_trains_with_sharing(name: str, tmp_path: Path) -> None:
    log = trained(fits.model_of(name), tmp_path, name)
    assert log.checks["prefix_sharing"]["shared"] is True
    assert log.rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)


# Numbers that are none ------------------------------------------------------------------------------------------------


class Spoiled:
    """An objective whose loss is not finite from one call on."""

    def __init__(self, name: str, *, at: int, value: float = math.nan) -> None:
        self.inner, self.at, self.value, self.calls = fits.OBJECTIVES[name][0], at, value, 0

    def items(self, batch: Any) -> torch.Tensor:
        return self.inner.items(batch)

    def __call__(self, logps: Any, batch: Any, gather: Any) -> StepLoss:
        step = self.inner(logps, batch, gather)
        self.calls += 1
        return dataclasses.replace(step, total=step.total * self.value) if self.calls > self.at else step


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_names_its_rows_and_leaves_the_last_checkpoint(
    value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "SAVE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "_SAVE_SHARE", 0.0)
    model = fits.model_of()
    rows, vision = fits.rows_for("dpo", model, rows=12)
    with pytest.raises(UserError) as caught:
        fits.train(model, rows, Spoiled("dpo", at=2, value=value), tmp_path, vision=vision)
    assert f"The loss is {value} at step 2, in the batch of " in caught.value.what
    named = caught.value.what.partition("in the batch of ")[2].rstrip(".").split(", ")
    assert len(named) == 4
    assert set(named) < {row.example.id for row in rows}
    kept = last_sealed(tmp_path / STEPS, "f")
    assert kept is not None
    assert kept.name == "checkpoint-2"


class Steep(Spoiled):
    """An objective whose loss is right and whose slope is infinite, from one call on."""

    def __call__(self, logps: Any, batch: Any, gather: Any) -> StepLoss:
        step = self.inner(logps, batch, gather)
        self.calls += 1
        zero = logps.logps.sum() - logps.logps.sum().detach()
        return dataclasses.replace(step, total=step.total + zero.sqrt()) if self.calls > self.at else step


def test_a_gradient_that_is_not_finite_changes_no_weight_and_names_the_rows_of_its_update(tmp_path: Path) -> None:
    """At the last step no later loss would tell."""
    model, again = fits.model_of(), fits.model_of()
    rows, vision = fits.rows_for("dpo", model, rows=8)
    objective = fits.OBJECTIVES["dpo"][0]
    fits.train(again, rows, objective, tmp_path / "one", vision=vision, epochs=0.5, per_device=2)
    with pytest.raises(UserError, match=r"gradient norm is (nan|inf) at step 1, in the batch of row-") as caught:
        fits.train(model, rows, Steep("dpo", at=3), tmp_path / "two", vision=vision, per_device=2)
    order = training_order([r.example.n_tokens for r in rows], epochs=1, batch_size=4, seed=1)
    named = caught.value.what.partition("in the batch of ")[2].rstrip(".").split(", ")
    assert named == [f"row-{i}" for i in order[4:]]
    assert fits.equal(fits.weights(again), fits.weights(model))
