"""A supervised term on the chosen text, for any loss."""

from __future__ import annotations

import math

from chexalign.errors import UserError
from chexalign.losses.base import Loss, LossOutput, PairLogps, VerdictLogps, VerdictLoss, VerdictOutput


def with_sft_term(loss: Loss, weight: float) -> Loss:
    """The loss plus `weight` times the chosen text's negative log-likelihood per token; the loss itself for weight 0.

    It holds up chosen log-probs that a preference loss alone may let fall along with the rejected ones. Rewards stay
    those of the loss. ORPO has such a term of weight 1 already, so there this one makes the weight 1 + `weight`.
    At step 0 the term is that of the reference policy. Its gradient is -weight / tokens on the chosen log-prob.

    Raises: UserError for a weight that is negative or not finite.
    """
    if not (math.isfinite(weight) and weight >= 0):
        raise UserError(
            f"sft_weight is {weight}",
            "it weighs a term that raises the chosen text's likelihood; a negative weight would lower it",
            "Set sft_weight to 0 or more, or leave it out",
        )
    if weight == 0:
        return loss
    return VerdictSFTTerm(loss, weight) if isinstance(loss, VerdictLoss) else SFTTerm(loss, weight)


class SFTTerm:
    """A loss of pairs with a supervised term; see `with_sft_term`."""

    def __init__(self, loss: Loss, weight: float) -> None:
        self.loss, self.weight = loss, weight
        self.reduction, self.needs_ref, self.needs_kl = loss.reduction, loss.needs_ref, loss.needs_kl
        self.required = loss.required

    def __call__(self, logps: PairLogps) -> LossOutput:
        """The loss with the term, and the rewards without it, of each pair."""
        out = self.loss(logps)
        losses = out.losses - self.weight * logps.chosen / logps.chosen_tokens
        return LossOutput(losses, out.chosen_rewards, out.rejected_rewards)

    def at_step_0(self, logps: PairLogps) -> float:
        """The value of the loss at step 0 plus the term's mean under the reference policy; NaN without one."""
        if logps.ref_chosen is None:
            return math.nan
        return self.loss.at_step_0(logps) - self.weight * (logps.ref_chosen / logps.chosen_tokens).mean().item()


class VerdictSFTTerm(SFTTerm):
    """The same for a loss that also learns from unpaired rows: there the term falls on desirable rows alone.

    A row's own weight multiplies the term as it does the loss. Of the two rows of a pair one has the term, so in a mean
    over rows it weighs half of what it does in a mean over pairs.
    """

    loss: VerdictLoss

    def verdicts(self, logps: VerdictLogps) -> VerdictOutput:
        """The loss with the term, and the reward without it, of each row."""
        out = self.loss.verdicts(logps)
        shares = logps.weights * logps.desirable / logps.tokens
        return VerdictOutput(out.losses - self.weight * shares * logps.logps, out.rewards)

    def verdicts_at_step_0(self, logps: VerdictLogps) -> float:
        """The value of the loss at step 0 plus the term's mean under the reference policy."""
        shares = logps.weights * logps.desirable / logps.tokens
        return self.loss.verdicts_at_step_0(logps) - self.weight * (shares * logps.ref_logps).mean().item()
