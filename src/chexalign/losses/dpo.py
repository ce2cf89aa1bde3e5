"""Direct preference optimization: Rafailov et al. 2023, arXiv:2305.18290."""

from __future__ import annotations

import math

from torch.nn import functional as F

from chexalign.losses.base import LossOutput, PairLogps, Reduction
from chexalign.losses.parameters import need_positive, need_smoothing


def dpo_loss(logps: PairLogps, *, beta: float, label_smoothing: float = 0.0) -> LossOutput:
    """The DPO loss of each pair: the policy's log-ratio is pushed up on chosen and down on rejected.

    All tensors `[B]`, nats; `beta` is in reward units per nat, and smaller values let the policy move further from the
    reference policy. `label_smoothing` is the assumed chance that a pair is the wrong way round (conservative DPO,
    Mitchell 2023); TRL's `robust` loss is another use of the same number.
    Lengths play no part, so longer texts have larger log-ratios to win with.

    Raises ValueError when the reference policy's log-probs are missing.
    Source: Eq. 7 of Rafailov et al. 2023, without its expectation.
    At step 0 policy and reference agree and every loss is ln 2 = 0.6931, for any smoothing. Without smoothing the
    gradient is -beta * sigmoid(-margin) on the chosen log-prob and its opposite on the rejected one: -beta / 2 and
    +beta / 2 at step 0.
    """
    if logps.ref_chosen is None or logps.ref_rejected is None:
        raise ValueError("dpo_loss: needs ref_chosen and ref_rejected")
    chosen_rewards = beta * (logps.chosen - logps.ref_chosen)  # Eq. 5, less beta log Z(x), which cancels in Eq. 6
    rejected_rewards = beta * (logps.rejected - logps.ref_rejected)  # Eq. 5
    margin = chosen_rewards - rejected_rewards  # the argument of sigma in Eq. 6 and Eq. 7
    kept = -F.logsigmoid(margin)  # Eq. 7
    swapped = -F.logsigmoid(-margin)  # Eq. 7 with chosen and rejected exchanged
    losses = (1 - label_smoothing) * kept + label_smoothing * swapped  # cDPO
    return LossOutput(losses, chosen_rewards.detach(), rejected_rewards.detach())


class DPO:
    """Direct preference optimization, with its parameters set; see `dpo_loss`."""

    reduction: Reduction = "sum_logp"
    needs_ref = True
    needs_kl = False
    required: tuple[str, ...] = ("beta",)

    def __init__(self, *, beta: float, label_smoothing: float = 0.0) -> None:
        need_positive(
            "dpo",
            "beta",
            beta,
            why="the implicit reward is beta times a log-ratio, so beta must be a positive number",
            fix="Set beta between 0.01 and 0.5; the CheXalign paper searched 0.01, 0.05 and 0.1",
        )
        need_smoothing("dpo", label_smoothing)
        self.beta, self.label_smoothing = beta, label_smoothing

    def __call__(self, logps: PairLogps) -> LossOutput:
        """The loss and rewards of each pair."""
        return dpo_loss(logps, beta=self.beta, label_smoothing=self.label_smoothing)

    def at_step_0(self, logps: PairLogps) -> float:
        """ln 2, whatever the log-probs."""
        return math.log(2)
