"""Writes tests/golden/losses/*.json: losses and gradients by TRL's own code on fixed log-probs.

Run: `pip install "trl==1.16.0" && python bench/golden_losses.py` (a few seconds, CPU, no download).
TRL computes its DPO, IPO and KTO losses inside `_compute_loss`, between a model's forward and its metrics. Here those
methods run unchanged on one pair or row at a time, with a stand-in for the model that answers with the log-probs under
test; ORPO's odds ratio term is a method of its own. TRL has no LC-DPO: tests derive its values by hand.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from trl import DPOTrainer, KTOTrainer
from trl.experimental.orpo import ORPOTrainer

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "losses"
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
TOKENS = [(25, 31), (25, 31), (25, 31), (40, 12), (7, 90), (1, 300), (300, 1), (2, 2)]  # chosen and rejected, per row
BETAS = (0.01, 0.05, 0.1, 0.5)
SMOOTHINGS = (0.0, 0.1, 0.3)
TAUS = (0.1, 0.5, 1.0)
LAMBDAS = ((1.0, 1.0), (1.0, 0.25))  # of desirable and undesirable rows
MISMATCHED = {  # log-probs under the policy and the reference policy, and what their mean log-ratio is
    "moved": ([-80.0, -75.5, -91.0], [-84.0, -75.0, -93.5]),  # 2 nats
    "at step 0": ([-80.0, -75.5], [-80.0, -75.5]),
    "clamped": ([-80.0, -75.5], [-70.0, -75.0]),  # -5.25 nats, which no divergence is
}
MEAN_LOGPS = [(-1.5, -1.5), (-0.4, -2.5), (-2.5, -0.4), (-0.01, -12.0), (-30.0, -0.05), (-0.7, -0.69), (-0.001, -0.002)]
ORPO_LAMBDAS = (0.5, 1.0, 5.0)


class StandInModel:
    """Answers a forward over ids of `i` with the i-th of the given per-token log-probs `[rows, tokens]`."""

    training = True

    def __init__(self, *log_probs: torch.Tensor) -> None:
        self.log_probs = log_probs

    def __call__(self, *, input_ids: torch.Tensor, **inputs: object) -> SimpleNamespace:
        log_probs = self.log_probs[int(input_ids[0, 0])]
        nothing = torch.zeros_like(log_probs).detach()
        return SimpleNamespace(log_probs=log_probs, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool())


def stand_in(kind: type, **settings: object) -> Any:
    """A trainer with the settings that its loss reads, and no model, data or optimizer."""
    trainer = object.__new__(kind)
    trainer.accelerator = SimpleNamespace(
        device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x
    )
    trainer.precompute_ref_logps, trainer.aux_loss_enabled = True, False
    trainer._metrics = {"train": defaultdict(list)}
    trainer._total_train_tokens, trainer._tp_size = 0, 1
    for name, value in settings.items():
        setattr(trainer, name, value)
    return trainer


def ids_and_masks(counts: Iterable[int], *, width: int, index: int, prefix: str = "") -> dict[str, torch.Tensor]:
    """Inputs of a prompt token and `counts` completion tokens per row, whose ids say which answer the model gives."""
    completion = torch.tensor([[0] + [1] * count + [0] * (width - count) for count in counts])
    ids = torch.full_like(completion, index)
    names = ("input_ids", "attention_mask", "completion_mask")
    return {prefix + name: value for name, value in zip(names, (ids, torch.ones_like(ids), completion), strict=True)}


def dpo_loss(
    row: tuple[float, ...], tokens: tuple[int, int], *, loss_type: str, beta: float, label_smoothing: float = 0.0
) -> tuple[float, float, float]:
    """TRL's loss of one pair, and its gradients with respect to the chosen and the rejected log-prob."""
    trainer = stand_in(
        DPOTrainer,
        loss_types=[loss_type],
        loss_weights=[1.0],
        beta=beta,
        label_smoothing=label_smoothing,
        f_divergence_type="reverse_kl",
        ld_alpha=None,
        use_weighting=False,
    )
    sums = torch.tensor(row[:2], requires_grad=True)
    log_probs = torch.zeros(2, max(tokens)).index_add(1, torch.tensor([0]), sums[:, None])
    trainer.model = StandInModel(log_probs)
    inputs = ids_and_masks(tokens, width=max(tokens), index=0) | {
        "ref_chosen_logps": torch.tensor([row[2]]),
        "ref_rejected_logps": torch.tensor([row[3]]),
    }
    loss = trainer._compute_loss(trainer.model, inputs, return_outputs=False)
    loss.backward()
    return loss.item(), sums.grad[0].item(), sums.grad[1].item()


def kto_loss(
    logp: float, ref_logp: float, mismatched: tuple[list[float], list[float]], *, label: bool, **settings: float
) -> tuple[float, float]:
    """TRL's loss of one row, and its gradient with respect to the row's log-prob."""
    trainer = stand_in(KTOTrainer, loss_type="kto", calculate_KL=True, **settings)
    policy, ref = (torch.tensor(column) for column in mismatched)
    log_probs = torch.tensor([[logp]], requires_grad=True)
    trainer.model = StandInModel(log_probs, policy[:, None])
    inputs = {
        **ids_and_masks([1], width=1, index=0),
        **ids_and_masks([1] * len(policy), width=1, index=1, prefix="KL_"),
        "label": torch.tensor([label]),
        "ref_logps": torch.tensor([ref_logp]),
        "ref_KL_logps": ref,
    }
    loss = trainer._compute_loss(trainer.model, inputs, return_outputs=False)
    loss.backward()
    return loss.item(), log_probs.grad.item()


def columns(names: Iterable[str], rows: Iterable[tuple[float, ...]]) -> dict[str, list[float]]:
    """The rows as one list per name."""
    return dict(zip(names, (list(column) for column in zip(*rows, strict=True)), strict=True))


def pair_cases(loss_type: str, settings: Iterable[dict[str, float]]) -> list[dict[str, object]]:
    """One entry per setting of a loss of pairs; lists run over ROWS."""
    names = ("losses", "chosen_gradients", "rejected_gradients")
    return [
        {"loss_type": loss_type, **one}
        | columns(names, [dpo_loss(*both, loss_type=loss_type, **one) for both in zip(ROWS, TOKENS, strict=True)])
        for one in settings
    ]


def kto_cases() -> list[dict[str, object]]:
    """One entry per batch of mismatched completions, beta and lambdas; lists run over ROWS, each as two rows."""
    names = ("chosen_losses", "chosen_gradients", "rejected_losses", "rejected_gradients")
    found = []
    for key, mismatched in MISMATCHED.items():
        for beta in BETAS:
            for lambda_c, lambda_r in LAMBDAS:
                settings = {"beta": beta, "desirable_weight": lambda_c, "undesirable_weight": lambda_r}
                rows = [
                    kto_loss(c, rc, mismatched, label=True, **settings)
                    + kto_loss(r, rr, mismatched, label=False, **settings)
                    for c, r, rc, rr in ROWS
                ]
                case = {"mismatched": key, "beta": beta, "lambda_c": lambda_c, "lambda_r": lambda_r}
                found.append(case | columns(names, rows))
    return found


def orpo_cases() -> list[dict[str, object]]:
    """One entry per lambda; lists run over MEAN_LOGPS."""
    found = []
    for weight in ORPO_LAMBDAS:
        chosen, rejected = torch.tensor(MEAN_LOGPS).T.contiguous().unbind()
        chosen.requires_grad_(), rejected.requires_grad_()
        ratios, *_ = stand_in(ORPOTrainer, beta=weight).odds_ratio_loss(chosen, rejected)
        losses = -ratios  # TRL subtracts them from the likelihood's loss
        losses.sum().backward()
        names = ("losses", "chosen_gradients", "rejected_gradients")
        values = (losses.tolist(), chosen.grad.tolist(), rejected.grad.tolist())
        found.append({"lambda": weight} | dict(zip(names, values, strict=True)))
    return found


def write(name: str, *, what: str, function: str, differences: str, inputs: object, cases: list[Any]) -> None:
    """Write one golden file."""
    golden = {
        "what": f"{what}, float32, CPU",
        "script": "bench/golden_losses.py",
        "peer": {"trl": version("trl"), "function": function, "torch": version("torch")},
        "differences": differences,
        "inputs": inputs,
        "cases": cases,
    }
    GOLDEN.mkdir(parents=True, exist_ok=True)
    (GOLDEN / f"{name}.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(f"wrote {GOLDEN / name}.json: {len(cases)} cases")


def main() -> None:
    """Write the golden files."""
    pairs = columns(COLUMNS, ROWS)
    tokens = columns(("chosen_tokens", "rejected_tokens"), TOKENS)
    robust = [{"beta": beta, "label_smoothing": s} for s in SMOOTHINGS if s for beta in BETAS]
    write(
        "dpo",
        what="DPO losses and gradients per pair",
        function="DPOTrainer._compute_loss",
        differences="TRL has no conservative DPO; its `robust` loss is (kept - flipped) / (1 - 2 label_smoothing), "
        "where dpo_loss is kept + flipped",
        inputs=pairs,
        cases=pair_cases("sigmoid", [{"beta": beta, "label_smoothing": 0.0} for beta in BETAS])
        + pair_cases("robust", robust),
    )
    write(
        "ipo",
        what="IPO losses and gradients per pair, log-ratios averaged over tokens; beta is tau",
        function="DPOTrainer._compute_loss",
        differences="TRL has no sum over tokens, as the paper prints it",
        inputs=pairs | tokens,
        cases=pair_cases("ipo", [{"beta": tau} for tau in TAUS]),
    )
    write(
        "kto",
        what="KTO losses and gradients per row, chosen desirable and rejected undesirable",
        function="KTOTrainer._compute_loss",
        differences="TRL takes rows alone; the loss of a pair here is the mean of its two",
        inputs=pairs | {"mismatched": {key: {"kl": kl, "ref_kl": ref} for key, (kl, ref) in MISMATCHED.items()}},
        cases=kto_cases(),
    )
    write(
        "orpo",
        what="ORPO's odds ratio term and its gradients per pair of mean log-probs",
        function="ORPOTrainer.odds_ratio_loss",
        differences="TRL's likelihood term covers prompt and completion, ours the completion: it is left out here",
        inputs=columns(("chosen", "rejected"), MEAN_LOGPS),
        cases=orpo_cases(),
    )


if __name__ == "__main__":
    main()
