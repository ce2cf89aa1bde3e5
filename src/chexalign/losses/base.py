"""What a loss is: a pure function of sequence log-probs that touches no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Literal["sum_logp", "mean_logp"]


@dataclass(frozen=True, slots=True)
class PairLogps:
    """What a pairwise loss may read of a batch of pairs, one entry per pair.

    chosen, rejected: sum_logp `[B]` float32 under the policy, nats, over completion tokens (end token included).
    ref_chosen, ref_rejected: the same under the reference policy, without gradient; None for losses that need none.
    chosen_tokens, rejected_tokens: `[B]`, the numbers of tokens in those sums, so that sum / tokens is mean_logp.
    Raises ValueError for another shape or dtype: a sum of hundreds of log-probs in bfloat16 is off by whole nats.
    """

    chosen: Tensor
    rejected: Tensor
    ref_chosen: Tensor | None
    ref_rejected: Tensor | None
    chosen_tokens: Tensor
    rejected_tokens: Tensor

    def __post_init__(self) -> None:
        sums = {"chosen": self.chosen, "rejected": self.rejected}
        if self.ref_chosen is not None and self.ref_rejected is not None:
            sums |= {"ref_chosen": self.ref_chosen, "ref_rejected": self.ref_rejected}
        elif self.ref_chosen is not self.ref_rejected:
            raise ValueError("PairLogps: ref_chosen and ref_rejected come together")
        counts = {"chosen_tokens": self.chosen_tokens, "rejected_tokens": self.rejected_tokens}
        for name, tensor in (sums | counts).items():
            if tensor.ndim != 1 or tensor.shape != self.chosen.shape:
                raise ValueError(f"PairLogps: {name} has shape {tuple(tensor.shape)}, all must be [B]")
        for name, tensor in sums.items():
            if str(tensor.dtype) != "torch.float32":
                raise ValueError(f"PairLogps: {name} is {tensor.dtype}, must be torch.float32")


@dataclass(frozen=True, slots=True)
class LossOutput:
    """A loss per pair `[B]`, before any mean, and the implicit rewards `[B]` that it compares, without gradient."""

    losses: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor


class Loss(Protocol):
    """A preference loss with its own parameters set; what it needs can be read before anything is computed."""

    reduction: Reduction  # what it compares: sum_logp as given, or sum_logp / tokens
    needs_ref: bool  # whether the reference policy's log-probs must be there
    required: tuple[str, ...]  # constructor arguments that a recipe must name, having no default

    def __call__(self, logps: PairLogps) -> LossOutput:
        """The loss and rewards of each pair."""
        ...

    def at_step_0(self, logps: PairLogps) -> float:
        """The mean loss that the first batch must show, when the policy still is the reference policy."""
        ...
