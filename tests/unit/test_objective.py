"""Losses of a batch by hand: what is summed, what it is divided by, and what is logged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from chexalign.losses.dpo import DPO
from chexalign.losses.kto import KTO
from chexalign.losses.lc_dpo import LCDPO
from chexalign.losses.orpo import ORPO
from chexalign.losses.sft_term import with_sft_term
from chexalign.train.objective import Pairs, StepLoss, Supervised, Verdicts, length_correlation
from chexalign.train.prefix import TokenLogps

# Per row and completion the log-probs of its tokens.
TOKENS = [
    [[-1.0, -2.0], [-1.0, -1.0, -1.0], [-4.0]],
    [[-0.5], [-2.0, -2.0], [-1.0, -0.5]],
]
SUMS = torch.tensor([[-3.0, -3.0, -4.0], [-0.5, -4.0, -1.5]])
REF = torch.tensor([[-4.0, -2.0, -4.0], [-1.5, -1.0, -2.5]])


def alone(x: torch.Tensor) -> torch.Tensor:
    """What gathering over processes is in a single one."""
    return x


def token_logps(tokens: list[list[list[float]]] = TOKENS) -> TokenLogps:
    flat = [(v, i, j) for i, row in enumerate(tokens) for j, completion in enumerate(row) for v in completion]
    values, rows, branches = zip(*flat, strict=True)
    logps = torch.tensor(values, requires_grad=True)
    return TokenLogps(logps, torch.tensor(rows), torch.tensor(branches), (len(tokens), len(tokens[0])))


def batch_of(**changes: Any) -> dict[str, torch.Tensor]:
    batch = {
        "row": torch.tensor([7, 3]),
        "counts": torch.ones(2),
        "ref": REF,
        "desirable": torch.tensor([True, False]),
        "weight": torch.tensor([1.0, 2.0]),
    }
    return batch | changes


def test_sums_by_hand() -> None:
    assert torch.equal(token_logps().sums(), SUMS)
    assert token_logps().counts().tolist() == [[2, 3, 1], [1, 2, 2]]


def test_supervised_is_a_weighted_mean_over_tokens_of_all_batches() -> None:
    weights = torch.tensor([1.0, 3.0, 5.0])
    logps = token_logps([[[-1.0, -2.0]], [[-0.5]]])
    step = Supervised()(logps, {"weights": weights}, alone)
    assert step.total.item() == 1.0 + 6.0 + 2.5
    assert Supervised().items({"weights": weights}).item() == 9.0
    assert math.isnan(step.at_step_0)
    assert step.numbers["nll"].item() == pytest.approx(3.5 / 3)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_dpo_by_hand() -> None:
    """Log-ratios 1 and -1 in the first row, 1 and -3 in the second: margins of 2 and 4 nats."""
    objective = Pairs(DPO(beta=0.5))
    step = objective(token_logps(), batch_of(), alone)
    assert step.total.item() == pytest.approx(-math.log(sigmoid(1.0)) - math.log(sigmoid(2.0)), rel=1e-6)
    assert objective.items(batch_of()).item() == 2.0
    assert step.at_step_0 == pytest.approx(math.log(2))
    found = {name: value.tolist() for name, value in step.numbers.items()}
    assert found["reward_margin"] == [1.0, 2.0]
    assert found["accuracy"] == [1.0, 1.0]
    assert (found["chosen_logp"], found["rejected_logp"]) == ([-3.0, -0.5], [-3.0, -4.0])
    assert (found["chosen_log_ratio"], found["rejected_log_ratio"]) == ([1.0, 1.0], [-1.0, -3.0])
    assert (found["chosen_tokens"], found["rejected_tokens"]) == ([2.0, 1.0], [3.0, 2.0])
    assert "kl" not in found
    assert not any(value.requires_grad for value in step.numbers.values())


def test_the_gradient_goes_into_the_completions_of_the_pair_alone() -> None:
    """The mismatched completion is measured, and not trained on."""
    logps = token_logps()
    Pairs(KTO(beta=0.5))(logps, batch_of(), alone).total.backward()
    assert logps.logps.grad is not None
    by_completion = logps._add(logps.logps.grad)
    assert (by_completion[:, 0] < 0).all()
    assert (by_completion[:, 1] > 0).all()
    assert (by_completion[:, 2] == 0).all()


def test_kto_by_hand_and_its_kl_is_logged() -> None:
    """The mismatched log-ratios are 0 and 1, so z is half a nat."""
    step = Pairs(KTO(beta=1.0))(token_logps(), batch_of(), alone)
    first = (sigmoid(0.5 - 1.0) + sigmoid(-1.0 - 0.5)) / 2
    second = (sigmoid(0.5 - 1.0) + sigmoid(-3.0 - 0.5)) / 2
    assert step.total.item() == pytest.approx(first + second, rel=1e-6)
    assert step.numbers["kl"].item() == 0.5


def test_verdicts_by_hand() -> None:
    """Log-ratios 1 (desirable) and 1 (undesirable, weight 2); the mismatched ones are -1 and -3, whose mean is cut."""
    objective = Verdicts(KTO(beta=1.0))
    step = objective(token_logps([row[:2] for row in TOKENS]), batch_of(ref=REF[:, :2]), alone)
    assert step.total.item() == pytest.approx(sigmoid(-1.0) + 2 * sigmoid(1.0), rel=1e-6)
    assert step.numbers["kl"].item() == 0.0
    assert step.numbers["reward"].tolist() == [1.0, 1.0]
    assert step.numbers["accuracy"].tolist() == [1.0, 0.0]
    assert step.at_step_0 == pytest.approx((1 + 2) / 2 / 2)
    assert objective.items(batch_of()).item() == 2.0


def test_orpo_needs_no_reference_policy() -> None:
    batch = batch_of()
    del batch["ref"]
    step = Pairs(ORPO(lambda_=0.5))(token_logps([row[:2] for row in TOKENS]), batch, alone)
    assert math.isnan(step.at_step_0)
    assert math.isfinite(step.total.item())
    assert "chosen_log_ratio" not in step.numbers


@pytest.mark.parametrize("objective", [Pairs(DPO(beta=0.5)), Pairs(LCDPO(beta=0.5, alpha=0.1)), Pairs(KTO(beta=0.5))])
def test_at_the_reference_the_loss_is_what_it_says(objective: Pairs) -> None:
    step = objective(token_logps(), batch_of(ref=SUMS), alone)
    assert step.total.item() / 2 == pytest.approx(step.at_step_0, rel=1e-6)


def test_with_a_supervised_term_too() -> None:
    objective = Pairs(with_sft_term(DPO(beta=0.5), 0.3))
    step = objective(token_logps(), batch_of(ref=SUMS), alone)
    assert step.at_step_0 == pytest.approx(math.log(2) + 0.3 * (1.5 + 0.5) / 2)
    assert step.total.item() / 2 == pytest.approx(step.at_step_0, rel=1e-6)


@pytest.mark.parametrize("objective", [Pairs(DPO(beta=0.5)), Pairs(KTO(beta=0.5)), Verdicts(KTO(beta=0.5))])
def test_a_row_that_only_fills_a_batch_counts_for_nothing(objective: Any) -> None:
    k = 3 if isinstance(objective, Pairs) else 2
    logps, ref = token_logps([row[:k] for row in TOKENS]), REF[:, :k]
    both: StepLoss = objective(logps, batch_of(ref=ref, counts=torch.tensor([1.0, 0.0])), alone)
    one_batch = {name: value[:1] for name, value in batch_of(ref=ref).items()}
    one: StepLoss = objective(token_logps([row[:k] for row in TOKENS[:1]]), one_batch, alone)
    assert both.total.item() == pytest.approx(one.total.item(), rel=1e-6)
    assert objective.items(batch_of(counts=torch.tensor([1.0, 0.0]))).item() == 1.0


def test_completions_of_other_processes_are_in_the_kl() -> None:
    def gather(x: torch.Tensor) -> torch.Tensor:
        """The other process has completions that became likelier by 4 nats."""
        is_policy = torch.equal(x, SUMS[:, 2])
        return torch.cat([x, x + 4.0]) if is_policy else torch.cat([x, x])

    step = Pairs(KTO(beta=1.0))(token_logps(), batch_of(), gather)
    assert step.numbers["kl"].item() == pytest.approx(0.5 + 2.0)


def test_the_correlation_of_margins_and_lengths_from_means() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(-20, 20, 50).astype(float)
    margins = 0.1 * lengths + rng.normal(size=50)
    means = {
        "_m": margins.mean(),
        "_l": lengths.mean(),
        "_mm": (margins**2).mean(),
        "_ll": (lengths**2).mean(),
        "_ml": (margins * lengths).mean(),
    }
    assert length_correlation(means) == pytest.approx(np.corrcoef(margins, lengths)[0, 1])
    flat = dict.fromkeys(means, 1.0)
    assert length_correlation(flat) == 0.0
