"""Odds ratio preference optimization: Hong et al. 2024, arXiv:2403.07691."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from chexalign.losses.base import LossOutput, PairLogps, Reduction
from chexalign.losses.parameters import need_positive

# Odds grow without bound as a probability nears 1: a completion surer than this per token is taken as this sure.
_SUREST_MEAN_LOGP = -1e-6


def log_odds(mean_logp: Tensor) -> Tensor:
    """log(p / (1 - p)) of p = exp(mean_logp), for mean log-probs of any shape, finite with finite gradients.

    Mean log-probs above -1e-6 count as -1e-6, with gradient 0.
    Source: Eq. 4 of Hong et al. 2024.
    """
    x = mean_logp.clamp(max=_SUREST_MEAN_LOGP)
    # expm1 keeps 1 - p exact near p = 1; near p = 0 its rounding is far below that of x, so one formula does for both.
    return x - torch.log(-torch.expm1(x))


def orpo_loss(logps: PairLogps, *, lambda_: float) -> LossOutput:
    """The ORPO loss of each pair: the chosen text is learned as in SFT, and its odds pushed above those of rejected.

    All tensors `[B]`, nats. The first term is the chosen text's negative log-likelihood per token; the second, weighed
    by `lambda_`, compares odds of mean log-probs, so that a length alone wins nothing. There is no reference policy.
    The rewards are the log odds that are compared.

    Source: Eq. 6 and 7 of Hong et al. 2024. The likelihood is that of the completion alone, averaged per text and then
    over texts; TRL takes it over prompt and completion, averaged over all tokens of the batch. TRL logs lambda times
    the mean log-prob as reward; log odds order a pair in the same way.
    At step 0 nothing is known of the loss. The gradient is always negative on the chosen log-prob, and never negative
    on the rejected one.
    """
    chosen, rejected = logps.chosen / logps.chosen_tokens, logps.rejected / logps.rejected_tokens  # Eq. 3
    chosen_rewards, rejected_rewards = log_odds(chosen), log_odds(rejected)  # Eq. 4
    odds_ratio_losses = -F.logsigmoid(chosen_rewards - rejected_rewards)  # Eq. 7, the log of Eq. 5 inside
    losses = -chosen + lambda_ * odds_ratio_losses  # Eq. 6
    return LossOutput(losses, chosen_rewards.detach(), rejected_rewards.detach())


class ORPO:
    """Odds ratio preference optimization, with its parameter set; see `orpo_loss`."""

    reduction: Reduction = "mean_logp"
    needs_ref = False
    needs_kl = False
    required: tuple[str, ...] = ("lambda_",)

    def __init__(self, *, lambda_: float) -> None:
        need_positive(
            "orpo",
            "lambda",
            lambda_,
            why="it weighs the odds ratio against the likelihood, so it must be a positive number",
            fix="Set lambda between 0.1 and 5; the CheXalign paper searched 0.5, 1, 4 and 5",
        )
        self.lambda_ = lambda_

    def __call__(self, logps: PairLogps) -> LossOutput:
        """The loss and rewards of each pair."""
        return orpo_loss(logps, lambda_=self.lambda_)

    def at_step_0(self, logps: PairLogps) -> float:
        """NaN: without a reference policy any first loss is possible."""
        return math.nan
