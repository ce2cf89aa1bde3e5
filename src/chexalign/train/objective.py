"""What training minimizes: a loss per row of a batch, and the numbers worth watching."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from chexalign.losses.base import Loss, PairLogps, VerdictLogps
from chexalign.losses.kto import kl_estimate
from chexalign.train.prefix import TokenLogps

Batch = dict[str, torch.Tensor]
Gather = Callable[[torch.Tensor], torch.Tensor]  # concatenates a tensor over processes; the identity in one process


@dataclass(frozen=True, slots=True)
class StepLoss:
    """The summed loss of a batch, what a mean over the global batch divides it by, and numbers to log."""

    total: torch.Tensor  # scalar, with gradient
    at_step_0: float  # what total / items must be while the policy is the reference policy; NaN: nothing to check
    numbers: dict[str, torch.Tensor]  # [B] or scalar each, without gradient; their means are logged


class Objective(Protocol):
    """Turns a batch's log-probs into a loss."""

    def items(self, batch: Batch) -> torch.Tensor:
        """Scalar float32: what the batch counts for in the mean over the global batch."""
        ...

    def __call__(self, logps: TokenLogps, batch: Batch, gather: Gather) -> StepLoss:
        """The loss of a batch."""
        ...


class Supervised:
    """The weighted mean negative log-prob of completion tokens, in nats per token."""

    def items(self, batch: Batch) -> torch.Tensor:
        """The sum of the tokens' weights."""
        return batch["weights"].sum()

    def __call__(self, logps: TokenLogps, batch: Batch, gather: Gather) -> StepLoss:
        """The weighted sum over the batch's completion tokens."""
        nll = -logps.logps.detach().mean()
        return StepLoss(-(batch["weights"] * logps.logps).sum(), math.nan, {"nll": nll})


@dataclass(frozen=True, slots=True)
class Pairs:
    """A preference loss over rows of chosen, rejected and, where the loss needs it, a mismatched completion."""

    loss: Loss

    def items(self, batch: Batch) -> torch.Tensor:
        """The number of pairs."""
        return batch["counts"].sum()

    def __call__(self, logps: TokenLogps, batch: Batch, gather: Gather) -> StepLoss:
        """The summed loss of the batch's pairs, with rewards, margins, accuracy, log-probs and lengths."""
        sums, counts = logps.sums(), logps.counts()
        ref = batch["ref"] if self.loss.needs_ref else None
        pairs = PairLogps(
            chosen=sums[:, 0],
            rejected=sums[:, 1],
            ref_chosen=ref[:, 0] if ref is not None else None,
            ref_rejected=ref[:, 1] if ref is not None else None,
            chosen_tokens=counts[:, 0],
            rejected_tokens=counts[:, 1],
            **(_mismatched(sums[:, 2], batch["ref"][:, 2], batch, gather) if self.loss.needs_kl else {}),
        )
        out = self.loss(pairs)
        margin = out.chosen_rewards - out.rejected_rewards
        numbers = {
            "reward_margin": margin,
            "accuracy": (margin > 0).float(),
            "chosen_logp": pairs.chosen.detach(),
            "rejected_logp": pairs.rejected.detach(),
            "chosen_reward": out.chosen_rewards,
            "rejected_reward": out.rejected_rewards,
            "chosen_tokens": pairs.chosen_tokens.float(),
            "rejected_tokens": pairs.rejected_tokens.float(),
        }
        numbers |= _kl(pairs) | _moments(margin, (pairs.chosen_tokens - pairs.rejected_tokens).float())
        if ref is not None:
            numbers["chosen_log_ratio"] = (pairs.chosen - ref[:, 0]).detach()
            numbers["rejected_log_ratio"] = (pairs.rejected - ref[:, 1]).detach()
        return StepLoss((out.losses * batch["counts"]).sum(), self.loss.at_step_0(pairs), numbers)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """KTO over rows of one completion, desirable or not, and a mismatched one."""

    loss: Any  # has `verdicts` and `verdicts_at_step_0`

    def items(self, batch: Batch) -> torch.Tensor:
        """The number of verdicts."""
        return batch["counts"].sum()

    def __call__(self, logps: TokenLogps, batch: Batch, gather: Gather) -> StepLoss:
        """The summed loss of the batch's verdicts."""
        sums, ref = logps.sums(), batch["ref"]
        verdicts = VerdictLogps(
            logps=sums[:, 0],
            ref_logps=ref[:, 0],
            tokens=logps.counts()[:, 0],
            desirable=batch["desirable"],
            weights=batch["weight"],
            **_mismatched(sums[:, 1], ref[:, 1], batch, gather),
        )
        out = self.loss.verdicts(verdicts)
        numbers = {
            "reward": out.rewards,
            "accuracy": ((out.rewards > 0) == batch["desirable"]).float(),
            "logp": verdicts.logps.detach(),
        }
        numbers |= _kl(verdicts)
        return StepLoss((out.losses * batch["counts"]).sum(), self.loss.verdicts_at_step_0(verdicts), numbers)


def _kl(logps: PairLogps | VerdictLogps) -> dict[str, torch.Tensor]:
    """The estimate that KTO compares rewards with, in nats; nothing for other losses."""
    if logps.kl is None:
        return {}
    return {"kl": kl_estimate(logps)}


def _moments(margin: torch.Tensor, length: torch.Tensor) -> dict[str, torch.Tensor]:
    """What `length_correlation` needs, as means that can be taken over batches and processes."""
    return {"_m": margin, "_l": length, "_mm": margin.square(), "_ll": length.square(), "_ml": margin * length}


def length_correlation(means: dict[str, float]) -> float:
    """Correlation of reward margin and length difference (chosen minus rejected, tokens) from mean moments.

    0 where one of them does not vary.
    """
    covariance = means["_ml"] - means["_m"] * means["_l"]
    spread = (means["_mm"] - means["_m"] ** 2) * (means["_ll"] - means["_l"] ** 2)
    return covariance / math.sqrt(spread) if spread > 1e-12 else 0.0


def _mismatched(logps: torch.Tensor, ref: torch.Tensor, batch: Batch, gather: Gather) -> dict[str, torch.Tensor]:
    """The log-probs of completions that answer another prompt, from all processes: the KL term is one number."""
    counts = gather(batch["counts"]) > 0
    return {"kl": gather(logps.detach())[counts], "ref_kl": gather(ref)[counts]}
