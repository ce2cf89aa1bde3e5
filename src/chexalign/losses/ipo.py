"""Identity preference optimization: Azar et al. 2023, arXiv:2310.12036."""

from __future__ import annotations

from typing import get_args

from chexalign.errors import UserError
from chexalign.losses.base import LossOutput, PairLogps, Reduction
from chexalign.losses.parameters import need_positive


def ipo_loss(logps: PairLogps, *, tau: float, reduction: Reduction = "mean_logp") -> LossOutput:
    """The IPO loss of each pair: the log-ratio of chosen is regressed to lie 1 / (2 tau) above that of rejected.

    All tensors `[B]`, nats; `tau` weighs the KL penalty: the larger, the nearer the policy stays to the reference.
    `sum_logp` takes log-ratios of whole completions, as the paper prints them. `mean_logp` divides each by its number
    of tokens, so that a long pair weighs no more than a short one; TRL does the same, on the word of the authors that
    their results used it. One tau means two different things under the two.
    The rewards are tau * log-ratio, reduced alike, so that a margin of 1/2 is the optimum.

    Raises ValueError when the reference policy's log-probs are missing.
    Source: Eq. 17 of Azar et al. 2023. TRL multiplies log-ratios of whole completions by tau for its logged rewards.
    At step 0 every loss is 1 / (4 tau^2). Below the optimum the gradient is negative on the chosen log-prob and
    positive on the rejected one, above it the other way round: unlike DPO, IPO pulls a margin back.
    """
    if logps.ref_chosen is None or logps.ref_rejected is None:
        raise ValueError("ipo_loss: needs ref_chosen and ref_rejected")
    chosen_ratios, rejected_ratios = logps.chosen - logps.ref_chosen, logps.rejected - logps.ref_rejected
    if reduction == "mean_logp":
        chosen_ratios, rejected_ratios = chosen_ratios / logps.chosen_tokens, rejected_ratios / logps.rejected_tokens
    margin = chosen_ratios - rejected_ratios  # h_pi in Eq. 17
    losses = (margin - 1 / (2 * tau)) ** 2  # Eq. 17
    return LossOutput(losses, tau * chosen_ratios.detach(), tau * rejected_ratios.detach())


class IPO:
    """Identity preference optimization, with its parameters set; see `ipo_loss`."""

    needs_ref = True
    needs_kl = False
    required: tuple[str, ...] = ("tau",)

    def __init__(self, *, tau: float, reduction: Reduction = "mean_logp") -> None:
        need_positive(
            "ipo",
            "tau",
            tau,
            why="the loss pulls the margin to 1 / (2 tau), so tau must be a positive number",
            fix="Set tau between 0.1 and 1; the CheXalign paper searched 0.1, 0.5 and 1",
        )
        if reduction not in get_args(Reduction):
            raise UserError(
                f"ipo: reduction is {reduction!r}",
                "a log-ratio is either summed over a completion or averaged over its tokens",
                f"Set reduction to one of: {', '.join(get_args(Reduction))}",
            )
        self.tau = tau
        self.reduction: Reduction = reduction

    def __call__(self, logps: PairLogps) -> LossOutput:
        """The loss and rewards of each pair."""
        return ipo_loss(logps, tau=self.tau, reduction=self.reduction)

    def at_step_0(self, logps: PairLogps) -> float:
        """1 / (4 tau^2), whatever the log-probs and the reduction."""
        return 1 / (4 * self.tau**2)
