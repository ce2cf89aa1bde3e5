"""The equality that the figures of bench/train.py rest on: the same loss and gradients on both sides."""

from __future__ import annotations

import copy
from typing import Any

import torch

from chexalign.losses.dpo import DPO
from chexalign.losses.kto import KTO
from chexalign.train.objective import Pairs, Verdicts
from chexalign.train.pack import Example
from chexalign.train.prefix import shared_logps
from chexalign.train.rows import Collator, Row, vision_inputs
from train_sides import trl_dpo, trl_kto

# float32: rounding of sums in another order. bfloat16 autocast keeps about three digits.
ALLOWED = {"float32": 1e-4, "bfloat16": 5e-2}


def dpo_difference(setting: Any) -> str:
    """Compares DPO on all pairs of the setting; says how large the differences are.

    Raises: AssertionError when they are larger than rounding.
    """
    pixels = setting.pixels()
    n = len(setting.pairs)
    mine, my_gradients = _ours(setting, Pairs(DPO(beta=0.1)), setting.rows(pixels), pixels)
    model, ref = copy.deepcopy(setting.policy), copy.deepcopy(setting.ref)
    trainer = trl_dpo(model, ref, setting.processor, setting.pairs, batch=n, steps=1)
    theirs, their_gradients = _theirs(trainer, trainer.model, setting.collated())
    return _verdict("TRL's DPO loss and gradients", setting, mine, theirs, my_gradients, their_gradients)


def kto_difference(setting: Any) -> str:
    """Compares KTO on the rows of one pair, with the mismatched completions that TRL takes: the row before."""
    pixels = setting.pixels()
    pair = setting.examples()[0]
    chosen, rejected = pair.completions
    rows = [
        Example("chosen", pair.prompt_ids, (chosen, rejected), pair.images),
        Example("rejected", pair.prompt_ids, (rejected, chosen), pair.images),
    ]
    refs = setting.ref_pass(rows, pixels)
    ready = [Row(e, tuple(ref), desirable=i == 0) for i, (e, ref) in enumerate(zip(rows, refs, strict=True))]
    mine, my_gradients = _ours(setting, Verdicts(KTO(beta=0.1)), ready, pixels)
    model, ref = copy.deepcopy(setting.policy), copy.deepcopy(setting.ref)
    trainer = trl_kto(model, ref, setting.processor, setting.pairs[:1], batch=1, steps=1)
    batch = next(iter(trainer.get_train_dataloader()))
    theirs, their_gradients = _theirs(trainer, trainer.model, batch)
    return _verdict("TRL's KTO loss and gradients", setting, mine, theirs, my_gradients, their_gradients)


def _ours(setting: Any, objective: Any, rows: list[Row], vision: Any) -> tuple[float, dict[str, torch.Tensor]]:
    model = copy.deepcopy(setting.policy)
    batch = {k: v.to(setting.device) for k, v in Collator(vision, pad_id=0)(list(enumerate(rows))).items()}
    with _autocast(setting):
        step = objective(shared_logps(model, batch, vision_inputs(batch)), batch, lambda tensor: tensor)
    loss = step.total / objective.items(batch)
    loss.backward()
    return loss.item(), _gradients(model)


def _theirs(trainer: Any, model: Any, batch: dict[str, Any]) -> tuple[float, dict[str, torch.Tensor]]:
    inputs = trainer._prepare_inputs(batch)
    model.train()
    with trainer.compute_loss_context_manager(), trainer.accelerator.autocast():
        loss = trainer.compute_loss(model, inputs)
    loss.backward()
    return loss.item(), _gradients(model)


def _autocast(setting: Any) -> Any:
    return torch.autocast(setting.device, torch.bfloat16, enabled=setting.device == "cuda")


def _gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.float() for name, p in model.named_parameters() if p.grad is not None}


def _verdict(
    what: str,
    setting: Any,
    mine: float,
    theirs: float,
    my_gradients: dict[str, torch.Tensor],
    their_gradients: dict[str, torch.Tensor],
) -> str:
    assert my_gradients.keys() == their_gradients.keys(), "other parameters have gradients"
    apart = sum((my_gradients[n] - their_gradients[n]).square().sum() for n in my_gradients) ** 0.5
    size = sum(g.square().sum() for g in their_gradients.values()) ** 0.5
    loss, gradient = abs(mine - theirs) / abs(theirs), float(apart / size)
    assert max(loss, gradient) < ALLOWED[setting.shape.dtype], (what, mine, theirs, gradient)
    return f"equal to {what} on the same batch: loss {loss:.0e}, gradients {gradient:.0e}, relative"
