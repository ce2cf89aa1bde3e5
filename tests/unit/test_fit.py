"""Real trainings of tiny models: what changes, what does not, and that nothing is added silently."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from chexalign.errors import UserError
from chexalign.train.fit import no_rows, using_threads, without_dropout
from chexalign.train.freeze import freeze, part_of
from chexalign.train.order import training_order, warmup_cosine
from chexalign.train.prefix import separate_logps, shared_logps
from chexalign.train.rows import Collator, vision_inputs
from chexalign.train.trainer import AlignTrainer
from tests import fits


@pytest.mark.parametrize("name", fits.OBJECTIVES)
def test_the_loss_falls_and_frozen_parts_stay_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = fits.model_of()
    freeze(model, ["vision"])
    rows, vision = fits.rows_for(name, model)
    before = fits.weights(model)
    log = fits.train(model, rows, fits.OBJECTIVES[name][0], tmp_path, vision=vision, epochs=4)
    losses = [row["loss"] for row in log.rows]
    assert len(losses) == 8
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])
    after = fits.weights(model)
    frozen = {key for key in before if part_of(key) == "vision"}
    assert frozen
    assert all(torch.equal(before[key], after[key]) for key in frozen)
    assert [key for key in before.keys() - frozen if torch.equal(before[key], after[key])] == []
    assert log.checks["prefix_sharing"]["shared"] is True


@pytest.mark.parametrize("frozen", [(), ("vision", "projector"), ("vision", "language")])
def test_any_part_can_be_frozen(frozen: tuple[Any, ...], tmp_path: Path) -> None:
    model = fits.model_of()
    freeze(model, frozen)
    rows, vision = fits.rows_for("dpo", model)
    before = fits.weights(model)
    fits.train(model, rows, fits.OBJECTIVES["dpo"][0], tmp_path, vision=vision)
    changed = {part_of(key) for key, value in fits.weights(model).items() if not torch.equal(value, before[key])}
    assert changed == {"vision", "projector", "language"} - set(frozen)


def test_every_step_leaves_a_row_of_the_log(tmp_path: Path) -> None:
    model = fits.model_of()
    rows, vision = fits.rows_for("kto", model)
    log = fits.train(model, rows, fits.OBJECTIVES["kto"][0], tmp_path, vision=vision, epochs=1.5)
    assert [row["step"] for row in log.rows] == [1, 2, 3]
    order = training_order([r.example.n_tokens for r in rows], epochs=1.5, batch_size=4, seed=1)
    assert [row["tokens"] for row in log.rows] == [
        sum(rows[i].example.n_tokens for i in order[k : k + 4]) for k in (0, 4, 8)
    ]
    names = {"loss", "grad_norm", "learning_rate", "reward_margin", "accuracy", "chosen_logp", "rejected_logp"}
    names |= {"chosen_tokens", "rejected_tokens", "kl", "length_correlation", "tokens_per_second", "peak_memory_mb"}
    assert all(names <= row.keys() for row in log.rows)
    assert log.rows[0]["reward_margin"] == pytest.approx(0, abs=1e-5)


# The mean over the global batch ---------------------------------------------------------------------------------------


def recorded_gradients(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """A list that gets the gradients of every update, before they are clipped."""
    found: list[dict[str, torch.Tensor]] = []
    clip = AlignTrainer._clip_grad_norm

    def recording(self: Any, model: Any) -> Any:
        found.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        return clip(self, model)

    monkeypatch.setattr(AlignTrainer, "_clip_grad_norm", recording)
    return found


def mean_gradient(model: Any, rows: list[Any], objective: Any, vision: Any) -> dict[str, torch.Tensor]:
    """By hand: the rows' losses one at a time, on separate sequences, summed and divided by what they count for."""
    model.zero_grad()
    collate = Collator(vision, 0)
    total, items = torch.zeros(()), torch.zeros(())
    for row in rows:
        batch = collate([(0, row)])
        total = total + objective(separate_logps(model, batch, vision_inputs(batch)), batch, lambda x: x).total
        items = items + objective.items(batch)
    (total / items).backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_close(found: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]) -> None:
    assert found.keys() == truth.keys()
    whole = float(torch.stack([g.norm() for g in truth.values()]).norm())
    for name, gradient in truth.items():
        assert float((found[name] - gradient).norm()) < 1e-5 * max(float(gradient.norm()), 1e-2 * whole), name


@pytest.mark.parametrize("per_device", [1, 2, 4])
@pytest.mark.parametrize("name", ["sft", "dpo", "orpo"])
def test_the_gradient_is_the_mean_s_however_the_batch_is_cut(
    name: str, per_device: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven rows: the second update has three, which two at a time are two and one."""
    model, objective = fits.model_of(), fits.OBJECTIVES[name][0]
    freeze(model, ["vision"])
    rows, vision = fits.rows_for(name, model, rows=7)
    if name == "sft":
        rows = [
            dataclasses.replace(r, example=dataclasses.replace(r.example, weights=tuple(
                float(1 + i % 3) for i in range(len(r.example.completions[0]))
            )))
            for r in rows
        ]  # fmt: skip
    order = training_order([r.example.n_tokens for r in rows], epochs=1, batch_size=4, seed=1)
    first, last = ([rows[i] for i in part] for part in (order[:4], order[4:]))
    truth = [mean_gradient(model, part, objective, vision) for part in (first, last)]
    found = recorded_gradients(monkeypatch)
    # A rate at which the weights hardly move: the second gradient is that of the first weights.
    settings = {"per_device": per_device, "learning_rate": 1e-12}
    fits.train(model, rows, objective, tmp_path, vision=vision, **settings)
    assert len(found) == 2
    for mine, by_hand in zip(found, truth, strict=True):
        assert_close(mine, by_hand)


@pytest.mark.parametrize("name", ["dpo", "kto"])
def test_five_steps_are_those_of_a_plain_loop(name: str, tmp_path: Path) -> None:
    """AdamW, its schedule and clipping written out, without a trainer: nothing is added silently."""
    model, objective = fits.model_of(), fits.OBJECTIVES[name][0]
    freeze(model, ["vision"])
    plain = fits.model_of()
    freeze(plain, ["vision"])
    rows, vision = fits.rows_for(name, model, rows=10)
    changes: dict[str, Any] = {"epochs": 2, "weight_decay": 0.1, "warmup_ratio": 0.4, "max_grad_norm": 0.5}
    log = fits.train(model, rows, objective, tmp_path, vision=vision, **changes)

    settings = dataclasses.replace(fits.SETTINGS, **changes)
    order = training_order([r.example.n_tokens for r in rows], epochs=2, batch_size=4, seed=1)
    # Gains of norms are not decayed; these models have no biases outside the tower but the projector's.
    trainable = {n: p for n, p in plain.named_parameters() if p.requires_grad}
    kept = {n for n in trainable if n.endswith("bias") or "norm" in n}
    groups = [
        {"params": [p for n, p in trainable.items() if n not in kept], "weight_decay": settings.weight_decay},
        {"params": [p for n, p in trainable.items() if n in kept], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)
    collate = Collator(vision, 0)
    for step in range(5):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * warmup_cosine(step, 5, settings.warmup_ratio)
        batch = collate([(i, rows[i]) for i in order[4 * step : 4 * step + 4]])
        loss = objective(shared_logps(plain, batch, vision_inputs(batch)), batch, lambda x: x).total / 4
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trainable.values(), settings.max_grad_norm)
        optimizer.step()
        assert log.rows[step]["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert log.rows[step]["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    assert len(log.rows) == 5
    start, by_hand, found = fits.weights(fits.model_of()), fits.weights(plain), fits.weights(model)
    for key, value in by_hand.items():
        moved = float((value - start[key]).norm())
        assert float((found[key] - value).norm()) <= 1e-5 * max(moved, float(value.norm())), key


# What is turned off and set back --------------------------------------------------------------------------------------


def test_every_kind_of_dropout_is_off_inside_and_back_after() -> None:
    model = fits.model_of("llava_phi")
    attention = model.model.language_model.layers[0].self_attn
    attention.attention_dropout = 0.5
    model.extra = torch.nn.Dropout2d(0.3)
    with without_dropout(model):
        assert (attention.attention_dropout, model.extra.p) == (0.0, 0.0)
    assert (attention.attention_dropout, model.extra.p) == (0.5, 0.3)


def test_the_dropout_of_adapters_stays_and_the_first_loss_is_known_all_the_same(tmp_path: Path) -> None:
    """It is asked for by the recipe; the matrix after it starts at zero."""
    peft = pytest.importorskip("peft")
    losses = []
    for rate in (0.0, 0.5):
        model = fits.model_of()
        rows, vision = fits.rows_for("dpo", model)
        torch.manual_seed(1)
        adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"], lora_dropout=rate))
        with without_dropout(adapted):
            rates = {m.p for m in adapted.modules() if isinstance(m, torch.nn.Dropout)}
        assert rates == ({rate} if rate else set())
        log = fits.train(adapted, rows, fits.OBJECTIVES["dpo"][0], tmp_path / str(rate), vision=vision, epochs=2)
        losses.append([row["loss"] for row in log.rows])
    assert [first for first, *_ in losses] == pytest.approx([math.log(2)] * 2, abs=1e-5)
    assert losses[0][2:] != losses[1][2:]


@pytest.mark.parametrize("name", ["llava_phi", "llava_llama"])
def test_dropout_in_the_config_changes_nothing(name: str, tmp_path: Path) -> None:
    """Phi drops out by modules, Llama by a rate that its attention holds."""
    results = []
    for rate in (0.0, 0.5):
        model = fits.model_of(name)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = rate
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = rate
        rows, vision = fits.rows_for("dpo", model, rows=4, name=name)
        fits.train(model, rows, fits.OBJECTIVES["dpo"][0], tmp_path / str(rate), vision=vision)
        results.append(fits.weights(model))
    assert fits.equal(*results)


def test_the_number_of_threads_is_set_back() -> None:
    before = torch.get_num_threads()
    with using_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("frozen", [("vision",), ()])
def test_running_means_stay_even_where_the_tower_learns(frozen: tuple[Any, ...], tmp_path: Path) -> None:
    """The tower of the tiny policy has BatchNorm: by a batch's own statistics rows would depend on their neighbors."""
    model, rows, vision = tiny()
    freeze(model, frozen)
    before = fits.weights(model)
    fits.train(model, rows, fits.OBJECTIVES["sft"][0], tmp_path, vision=vision)
    after = fits.weights(model)
    means = {key for key in before if "running_" in key or "num_batches_tracked" in key}
    assert len(means) > 4
    still = {key for key in before if torch.equal(before[key], after[key])}
    assert means <= still
    assert any(part_of(key) == "vision" for key in before.keys() - still) == (not frozen)


def tiny() -> tuple[Any, list[Any], Any]:
    """The tiny policy with random weights, and rows with random images."""
    from chexalign.demo.tiny import IMAGE_SIZE_PX, IMAGE_TOKENS, build_model, train_tokenizer
    from chexalign.policy.families import family_of
    from chexalign.train.pack import Example
    from chexalign.train.rows import Row

    tokenizer = train_tokenizer(["The heart is not enlarged. Both lungs are clear."], vocabulary=300)
    model, g = build_model(tokenizer, seed=1), torch.Generator().manual_seed(1)
    image = (model.config.image_token_index,) * IMAGE_TOKENS
    rows = [Row(Example(f"row-{i}", (5, *image, 6 + i), ((7, 8 + i, 2),), (str(i),))) for i in range(4)]
    pixels = {
        (str(i),): {"pixel_values": torch.randn(1, 3, IMAGE_SIZE_PX, IMAGE_SIZE_PX, generator=g)} for i in range(4)
    }
    return model, rows, fits.Held(family_of(model), pixels)


# Bad input ------------------------------------------------------------------------------------------------------------


def test_a_global_batch_that_cannot_be_cut_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="global batch of 4 cannot be cut into 1 processes of 3") as caught:
        fits.train(fits.model_of(), [], fits.OBJECTIVES["dpo"][0], tmp_path, vision=fits.Held(None, {}), per_device=3)
    assert "per_device" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("processes", "per_device"), [(3, None), (16, None), (2, 3)])
def test_processes_must_share_the_global_batch(processes: int, per_device: int | None) -> None:
    from chexalign.train.arguments import share

    with pytest.raises(UserError, match="cannot be cut"):
        share(8, processes, per_device)


def test_shares_by_hand() -> None:
    from chexalign.train.arguments import share

    assert share(16, 1, None) == (16, 1)
    assert share(16, 2, 2) == (2, 4)
    assert share(16, 4, 64) == (4, 1)


def test_no_rows_are_told_in_three_lines() -> None:
    assert len(str(no_rows("The arm dpo")).splitlines()) == 3


def test_max_steps_end_training(tmp_path: Path) -> None:
    model = fits.model_of()
    rows, vision = fits.rows_for("dpo", model)
    log = fits.train(model, rows, fits.OBJECTIVES["dpo"][0], tmp_path, vision=vision, epochs=3, max_steps=3)
    rate = fits.SETTINGS.learning_rate
    assert [row["learning_rate"] for row in log.rows] == pytest.approx([rate, rate, rate / 2])
