"""Writes tests/golden/losses/dpo.json: DPO losses and gradients by TRL's own code on fixed log-probs.

Run: `pip install "trl==1.16.0" && python bench/golden_losses.py` (a few seconds, CPU, no download).
TRL computes its loss inside `DPOTrainer._compute_loss`, between a model's forward and its metrics. Here that method
runs unchanged on one pair at a time, with a stand-in for the model that answers with the log-probs under test.
"""

from __future__ import annotations

import json
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import torch
from trl import DPOTrainer

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "losses" / "dpo.json"
COLUMNS = ("chosen", "rejected", "ref_chosen", "ref_rejected")
ROWS = [
    (-52.25, -60.5, -52.25, -60.5),  # step 0: policy and reference policy agree
    (-48.0, -63.0, -52.25, -60.5),  # the policy leans to chosen
    (-58.5, -55.0, -52.25, -60.5),  # the policy leans to rejected
    (-40.125, -41.0, -52.25, -60.5),  # both up, rejected more
    (-90.0, -130.75, -52.25, -60.5),  # both down, rejected more
    (-0.5, -700.0, -300.0, -20.0),  # far right: the loss vanishes
    (-700.0, -0.5, -20.0, -300.0),  # far wrong: the loss is linear
    (-1.0, -1.001, -1.0, -1.0),  # nearly equal
]
BETAS = (0.01, 0.05, 0.1, 0.5)
SMOOTHINGS = (0.0, 0.1, 0.3)


class StandInModel:
    """Answers every forward with the given per-token log-probs `[2, 1]`: chosen, then rejected."""

    training = True

    def __init__(self, log_probs: torch.Tensor) -> None:
        self.log_probs = log_probs

    def __call__(self, **inputs: object) -> SimpleNamespace:
        nothing = torch.zeros_like(self.log_probs).detach()
        return SimpleNamespace(log_probs=self.log_probs, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool())


def stand_in_trainer(*, beta: float, loss_type: str, label_smoothing: float) -> DPOTrainer:
    """A DPOTrainer with the settings that its loss reads, and no model, data or optimizer."""
    trainer = object.__new__(DPOTrainer)
    trainer.accelerator = SimpleNamespace(
        device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x
    )
    trainer.loss_types, trainer.loss_weights = [loss_type], [1.0]
    trainer.beta, trainer.label_smoothing = beta, label_smoothing
    trainer.f_divergence_type, trainer.ld_alpha = "reverse_kl", None
    trainer.precompute_ref_logps, trainer.use_weighting, trainer.aux_loss_enabled = True, False, False
    trainer._metrics = {"train": defaultdict(list)}
    trainer._total_train_tokens, trainer._tp_size = 0, 1
    return trainer


def trl_loss(row: tuple[float, ...], **settings: object) -> tuple[float, float, float]:
    """TRL's loss of one pair, and its gradients with respect to the chosen and the rejected log-prob."""
    trainer = stand_in_trainer(**settings)
    log_probs = torch.tensor([[row[0]], [row[1]]], requires_grad=True)
    trainer.model = StandInModel(log_probs)
    inputs = {
        "input_ids": torch.ones(2, 2, dtype=torch.long),
        "attention_mask": torch.ones(2, 2, dtype=torch.long),
        "completion_mask": torch.tensor([[0, 1], [0, 1]]),
        "ref_chosen_logps": torch.tensor([row[2]]),
        "ref_rejected_logps": torch.tensor([row[3]]),
    }
    loss = trainer._compute_loss(trainer.model, inputs, return_outputs=False)
    loss.backward()
    gradient = log_probs.grad
    return loss.item(), gradient[0, 0].item(), gradient[1, 0].item()


def cases() -> list[dict[str, object]]:
    """One entry per loss type, beta and smoothing; lists run over ROWS."""
    found = []
    settings = [("sigmoid", 0.0), *(("robust", s) for s in SMOOTHINGS if s)]
    for loss_type, label_smoothing in settings:
        for beta in BETAS:
            by_row = [trl_loss(row, beta=beta, loss_type=loss_type, label_smoothing=label_smoothing) for row in ROWS]
            losses, chosen, rejected = (list(column) for column in zip(*by_row, strict=True))
            found.append(
                {
                    "loss_type": loss_type,
                    "beta": beta,
                    "label_smoothing": label_smoothing,
                    "losses": losses,
                    "chosen_gradients": chosen,
                    "rejected_gradients": rejected,
                }
            )
    return found


def main() -> None:
    """Write the golden file."""
    golden = {
        "what": "DPO losses and gradients per pair, float32, CPU",
        "script": "bench/golden_losses.py",
        "peer": {"trl": version("trl"), "function": "DPOTrainer._compute_loss", "torch": version("torch")},
        "differences": "TRL has no conservative DPO; its `robust` loss is (kept - flipped) / (1 - 2 label_smoothing), "
        "where dpo_loss is kept + flipped",
        "inputs": dict(zip(COLUMNS, (list(c) for c in zip(*ROWS, strict=True)), strict=True)),
        "cases": cases(),
    }
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"wrote {GOLDEN}: {len(golden['cases'])} cases of {len(ROWS)} pairs")


if __name__ == "__main__":
    main()
