"""Kahneman-Tversky optimization: Ethayarajh et al. 2024, arXiv:2402.01306."""

from __future__ import annotations

import torch
from torch import Tensor

from chexalign.losses.base import LossOutput, PairLogps, Reduction, VerdictLogps, VerdictOutput
from chexalign.losses.parameters import need_positive


def kl_estimate(logps: PairLogps | VerdictLogps) -> Tensor:
    """How far the policy has moved from the reference policy, in nats: z_0, a scalar that is at least 0.

    The mean log-ratio of mismatched completions, each a prompt with the completion of another, clamped at 0, since a
    KL divergence is no less; one number for the whole batch, without gradient.

    Raises ValueError when kl and ref_kl are missing.
    Source: the estimate of z_0 in Ethayarajh et al. 2024; TRL clamps the mean over all processes in the same way.
    """
    if logps.kl is None or logps.ref_kl is None:
        raise ValueError("kl_estimate: needs kl and ref_kl")
    return (logps.kl - logps.ref_kl).detach().mean().clamp(min=0)


def kto_loss(logps: PairLogps, *, beta: float, lambda_c: float = 1.0, lambda_r: float = 1.0) -> LossOutput:
    """The KTO loss of each pair, as the mean of two rows: its chosen text desirable, its rejected text undesirable.

    All tensors `[B]` but kl and ref_kl, `[M]`; nats. The mean over pairs is the mean over their rows, as in
    `kto_verdict_loss`, so that a table of pairs and the table of its verdicts train alike.

    Raises ValueError when the reference policy's log-probs are missing, or those of the mismatched completions.
    Source: L_KTO of Ethayarajh et al. 2024. The CheXalign paper prints its two branches with opposite signs, which
    would raise the rejected text; both branches fall here as the policy gets better, as in TRL.
    At step 0 every loss is (lambda_c + lambda_r) / 4, so 0.5 for lambdas of 1. The gradient is never positive on the
    chosen log-prob and never negative on the rejected one, and vanishes far from z_0 on either side.
    """
    if logps.ref_chosen is None or logps.ref_rejected is None:
        raise ValueError("kto_loss: needs ref_chosen and ref_rejected")
    z = kl_estimate(logps)
    chosen_ratios, rejected_ratios = logps.chosen - logps.ref_chosen, logps.rejected - logps.ref_rejected  # r_theta
    chosen_losses = lambda_c * torch.sigmoid(beta * (z - chosen_ratios))  # lambda_D - v: 1 - sigma(x) is sigma(-x)
    rejected_losses = lambda_r * torch.sigmoid(beta * (rejected_ratios - z))  # lambda_U - v
    losses = (chosen_losses + rejected_losses) / 2
    return LossOutput(losses, beta * chosen_ratios.detach(), beta * rejected_ratios.detach())


def kto_verdict_loss(
    logps: VerdictLogps, *, beta: float, lambda_c: float = 1.0, lambda_r: float = 1.0
) -> VerdictOutput:
    """The KTO loss of each unpaired row: the log-ratio is pushed above z_0 where desirable, below it where not.

    All tensors `[B]` but kl and ref_kl, `[M]`; nats. `beta` is in reward units per nat and sets how soon a row is far
    enough from z_0 to be left alone; `lambda_c` and `lambda_r` weigh desirable and undesirable rows, and each row's own
    weight multiplies its loss. The rewards are beta * log-ratio; a row is on its good side beyond beta * z_0.

    Raises ValueError when the log-probs of the mismatched completions are missing.
    Source: L_KTO = E[lambda_y - v(x, y)] of Ethayarajh et al. 2024, v(x, y) = lambda_D sigma(beta (r_theta - z_0)) or
    lambda_U sigma(beta (z_0 - r_theta)); lambda_D is lambda_c and lambda_U lambda_r. z_0 is in nats and beta multiplies
    the difference, as in TRL, whose rows have no weights.
    At step 0 a loss is half its weight times lambda. The gradient is never positive on a desirable row and never
    negative on another; z_0 has none.
    """
    z = kl_estimate(logps)
    ratios = logps.logps - logps.ref_logps  # r_theta
    sign = torch.where(logps.desirable, 1.0, -1.0)
    losses = row_weights(logps, lambda_c, lambda_r) * torch.sigmoid(-sign * beta * (ratios - z))  # lambda_y - v
    return VerdictOutput(losses, beta * ratios.detach())


def row_weights(logps: VerdictLogps, lambda_c: float, lambda_r: float) -> Tensor:
    """The largest loss that each row can have `[B]`: its verdict's weight times lambda_c or lambda_r."""
    return logps.weights * torch.where(logps.desirable, lambda_c, lambda_r)


class KTO:
    """Kahneman-Tversky optimization, with its parameters set; see `kto_loss` and `kto_verdict_loss`."""

    reduction: Reduction = "sum_logp"
    needs_ref = True
    needs_kl = True
    required: tuple[str, ...] = ("beta",)

    def __init__(self, *, beta: float, lambda_c: float = 1.0, lambda_r: float = 1.0) -> None:
        need_positive(
            "kto",
            "beta",
            beta,
            why="the implicit reward is beta times a log-ratio, so beta must be a positive number",
            fix="Set beta between 0.01 and 0.5; the CheXalign paper searched 0.01, 0.05 and 0.1",
        )
        for name, value in (("lambda_c", lambda_c), ("lambda_r", lambda_r)):
            need_positive(
                "kto",
                name,
                value,
                why="it weighs one kind of row, so it must be a positive number",
                fix=f"Set {name} to 1, or leave it out",
            )
        self.beta, self.lambda_c, self.lambda_r = beta, lambda_c, lambda_r

    def __call__(self, logps: PairLogps) -> LossOutput:
        """The loss and rewards of each pair."""
        return kto_loss(logps, beta=self.beta, lambda_c=self.lambda_c, lambda_r=self.lambda_r)

    def at_step_0(self, logps: PairLogps) -> float:
        """(lambda_c + lambda_r) / 4, whatever the log-probs."""
        return (self.lambda_c + self.lambda_r) / 4

    def verdicts(self, logps: VerdictLogps) -> VerdictOutput:
        """The loss and reward of each row."""
        return kto_verdict_loss(logps, beta=self.beta, lambda_c=self.lambda_c, lambda_r=self.lambda_r)

    def verdicts_at_step_0(self, logps: VerdictLogps) -> float:
        """Half the mean of weight times lambda over the rows."""
        return row_weights(logps, self.lambda_c, self.lambda_r).mean().item() / 2
