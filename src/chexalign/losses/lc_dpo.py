"""Length-controlled DPO (R-DPO): Park et al. 2024, arXiv:2403.19159, as CheXalign uses it."""

from __future__ import annotations

import math

from torch.nn import functional as F

from chexalign.errors import UserError
from chexalign.losses.base import LossOutput, PairLogps, Reduction
from chexalign.losses.parameters import need_positive, need_smoothing


def lc_dpo_loss(logps: PairLogps, *, beta: float, alpha: float, label_smoothing: float = 0.0) -> LossOutput:
    """The length-controlled DPO loss of each pair: a longer chosen text is credited for its length, and pushed less.

    All tensors `[B]`, nats; `beta` as in DPO; `alpha` is in reward units per completion token, end token included.
    The rewards are beta * log-ratio + alpha * tokens, so a chosen text that is longer has a positive margin before
    any training; with alpha 0 this is DPO. `label_smoothing` exchanges the pair, its lengths too.

    Raises ValueError when the reference policy's log-probs are missing.
    Source: Park et al. 2024. Maximizing r(x, y) - alpha |y| under the KL penalty gives
    pi(y|x) = ref(y|x) exp((r(x, y) - alpha |y|) / beta) / Z(x), so r is beta log(pi / ref) + alpha |y| + beta log Z,
    and the Bradley-Terry loss of r has `+ alpha (|y_c| - |y_r|)` inside its log-sigmoid. A minus there would reward
    length. The trainer published with CheXalign keeps the sign of the length term in the exchanged pair of label
    smoothing; here it flips with the pair, and the two agree without smoothing. TRL's `ld_alpha` is another method
    (LD-DPO), which weighs down the tail of the longer text.
    At step 0 the loss is softplus(-alpha * (|y_c| - |y_r|)), for any beta; ln 2 only where the lengths agree. Without
    smoothing the gradient is -beta * sigmoid(-margin) on the chosen log-prob and its opposite on the rejected one, the
    smaller the longer the chosen text is.
    """
    if logps.ref_chosen is None or logps.ref_rejected is None:
        raise ValueError("lc_dpo_loss: needs ref_chosen and ref_rejected")
    chosen_lengths, rejected_lengths = (n.to(logps.chosen.dtype) for n in (logps.chosen_tokens, logps.rejected_tokens))
    chosen_rewards = beta * (logps.chosen - logps.ref_chosen) + alpha * chosen_lengths  # r, less beta log Z
    rejected_rewards = beta * (logps.rejected - logps.ref_rejected) + alpha * rejected_lengths
    margin = chosen_rewards - rejected_rewards  # beta * (difference of log-ratios) + alpha * (|y_c| - |y_r|)
    losses = (1 - label_smoothing) * -F.logsigmoid(margin) + label_smoothing * -F.logsigmoid(-margin)
    return LossOutput(losses, chosen_rewards.detach(), rejected_rewards.detach())


class LCDPO:
    """Length-controlled DPO, with its parameters set; see `lc_dpo_loss`."""

    reduction: Reduction = "sum_logp"
    needs_ref = True
    needs_kl = False
    required: tuple[str, ...] = ("beta", "alpha")

    def __init__(self, *, beta: float, alpha: float, label_smoothing: float = 0.0) -> None:
        need_positive(
            "lc_dpo",
            "beta",
            beta,
            why="the implicit reward is beta times a log-ratio, so beta must be a positive number",
            fix="Set beta between 0.01 and 0.5; the CheXalign paper searched 0.01, 0.05 and 0.1",
        )
        if not (math.isfinite(alpha) and alpha >= 0):
            raise UserError(
                f"lc_dpo: alpha is {alpha}",
                "it is what a token of length costs, and a negative cost would reward length",
                "Set alpha to 0 for plain DPO, or near 0.01; the CheXalign paper searched 0.001 and 0.01",
            )
        need_smoothing("lc_dpo", label_smoothing)
        self.beta, self.alpha, self.label_smoothing = beta, alpha, label_smoothing

    def __call__(self, logps: PairLogps) -> LossOutput:
        """The loss and rewards of each pair."""
        return lc_dpo_loss(logps, beta=self.beta, alpha=self.alpha, label_smoothing=self.label_smoothing)

    def at_step_0(self, logps: PairLogps) -> float:
        """The mean of softplus(-alpha * delta) over the pairs, delta the tokens of chosen less those of rejected.

        With smoothing s it is the mean of (1 - s) * softplus(-alpha * delta) + s * softplus(alpha * delta).
        """
        length = self.alpha * (logps.chosen_tokens - logps.rejected_tokens).to(logps.chosen.dtype)
        s = self.label_smoothing
        return ((1 - s) * F.softplus(-length) + s * F.softplus(length)).mean().item()
