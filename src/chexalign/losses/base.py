"""What a loss is: a pure function of sequence log-probs that touches no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Literal["sum_logp", "mean_logp"]

_EXACT = ("torch.float32", "torch.float64")  # a sum of hundreds of log-probs in bfloat16 is off by whole nats


@dataclass(frozen=True, slots=True)
class PairLogps:
    """What a pairwise loss may read of a batch of pairs, one entry per pair.

    chosen, rejected: sum_logp `[B]` float32 under the policy, nats, over completion tokens (end token included).
    ref_chosen, ref_rejected: the same under the reference policy, without gradient; None for losses that need none.
    chosen_tokens, rejected_tokens: `[B]`, the numbers of tokens in those sums, so that sum / tokens is mean_logp.
    kl, ref_kl: sum_logp `[M]` float32 of mismatched completions (a prompt with the completion of another) under the
    policy and the reference policy, both without gradient; M may differ from B; None for losses that need none.
    Raises ValueError for another shape or dtype; float64 is taken too, for numerical checks.
    """

    chosen: Tensor
    rejected: Tensor
    ref_chosen: Tensor | None
    ref_rejected: Tensor | None
    chosen_tokens: Tensor
    rejected_tokens: Tensor
    kl: Tensor | None = None
    ref_kl: Tensor | None = None

    def __post_init__(self) -> None:
        _check("PairLogps", ["chosen", "rejected", "chosen_tokens", "rejected_tokens"], self)
        _check_both("PairLogps", "ref_chosen", "ref_rejected", self)
        if self.ref_chosen is not None:
            _check("PairLogps", ["chosen", "ref_chosen", "ref_rejected"], self)
        _check_kl("PairLogps", self)


@dataclass(frozen=True, slots=True)
class VerdictLogps:
    """What a loss of unpaired rows may read of a batch: one candidate per row, desirable or not.

    logps, ref_logps: sum_logp `[B]` float32 under the policy and the reference policy, the second without gradient.
    tokens: `[B]`, the numbers of tokens in those sums. desirable: `[B]` bool. weights: `[B]` float32, of the verdicts.
    kl, ref_kl: as in PairLogps.
    Raises ValueError for another shape or dtype.
    """

    logps: Tensor
    ref_logps: Tensor
    tokens: Tensor
    desirable: Tensor
    weights: Tensor
    kl: Tensor | None = None
    ref_kl: Tensor | None = None

    def __post_init__(self) -> None:
        _check("VerdictLogps", ["logps", "ref_logps", "tokens", "desirable", "weights"], self)
        if str(self.desirable.dtype) != "torch.bool":
            raise ValueError(f"VerdictLogps: desirable is {self.desirable.dtype}, must be torch.bool")
        _check_kl("VerdictLogps", self)


@dataclass(frozen=True, slots=True)
class LossOutput:
    """A loss per pair `[B]`, before any mean, and the implicit rewards `[B]` that it compares, without gradient."""

    losses: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor


@dataclass(frozen=True, slots=True)
class VerdictOutput:
    """A loss per unpaired row `[B]`, before any mean, and the row's implicit reward `[B]`, without gradient."""

    losses: Tensor
    rewards: Tensor


class Loss(Protocol):
    """A preference loss with its own parameters set; what it needs can be read before anything is computed.

    A class takes its parameters by keyword, under the recipe's names (`lambda_` for lambda), and `label_smoothing`
    only where the algorithm has it.
    """

    reduction: Reduction  # what it compares: sum_logp as given, or sum_logp / tokens
    needs_ref: bool  # whether the reference policy's log-probs must be there
    needs_kl: bool  # whether the log-probs of mismatched completions must be there
    required: tuple[str, ...]  # constructor arguments that a recipe must name, having no default

    def __call__(self, logps: PairLogps) -> LossOutput:
        """The loss and rewards of each pair."""
        ...

    def at_step_0(self, logps: PairLogps) -> float:
        """The exact mean loss of a first batch, whose policy still is the reference policy.

        NaN means that nothing can be asserted: without a reference policy any first loss is possible.
        """
        ...


@runtime_checkable
class VerdictLoss(Loss, Protocol):
    """A preference loss that can also learn from unpaired rows."""

    def verdicts(self, logps: VerdictLogps) -> VerdictOutput:
        """The loss and reward of each row."""
        ...

    def verdicts_at_step_0(self, logps: VerdictLogps) -> float:
        """The exact mean loss of a first batch of rows, as `Loss.at_step_0` is of pairs."""
        ...


def _check(record: str, names: list[str], logps: PairLogps | VerdictLogps) -> None:
    shape = getattr(logps, names[0]).shape
    for name in names:
        tensor = getattr(logps, name)
        if tensor.ndim != 1 or tensor.shape != shape:
            raise ValueError(f"{record}: {name} has shape {tuple(tensor.shape)}, all must be [B]")
        if not name.endswith("tokens") and name != "desirable" and str(tensor.dtype) not in _EXACT:
            raise ValueError(f"{record}: {name} is {tensor.dtype}, must be torch.float32")


def _check_both(record: str, one: str, other: str, logps: PairLogps | VerdictLogps) -> None:
    if (getattr(logps, one) is None) != (getattr(logps, other) is None):
        raise ValueError(f"{record}: {one} and {other} come together")


def _check_kl(record: str, logps: PairLogps | VerdictLogps) -> None:
    _check_both(record, "kl", "ref_kl", logps)
    if logps.kl is None:
        return
    _check(record, ["kl", "ref_kl"], logps)
    if not len(logps.kl):
        raise ValueError(f"{record}: kl is empty, and the mean of nothing is no number")
