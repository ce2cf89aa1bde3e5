"""From a recipe's training block to the loss that it names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Protocol

from chexalign.errors import UserError
from chexalign.losses.base import Loss
from chexalign.losses.sft_term import with_sft_term
from chexalign.registry import registry


class LossSettings(Protocol):
    """What a training block says of its loss."""

    @property
    def algorithm(self) -> str:
        """A registered name."""
        ...

    @property
    def label_smoothing(self) -> float:
        """The assumed share of pairs that are the wrong way round."""
        ...

    @property
    def sft_weight(self) -> float | None:
        """The weight of a supervised term on the chosen text; None and 0 are none."""
        ...

    def parameters(self) -> Mapping[str, float | str]:
        """The algorithm's own parameters, by the name that its class gives them."""
        ...


def make_loss(train: LossSettings) -> Loss:
    """The loss that the block names, with its parameters, its label smoothing and its supervised term.

    Raises: UserError for an unknown algorithm, for parameters that its class does not take, lacks or refuses, and for
    label smoothing where the class has no `label_smoothing`.
    """
    algorithm = registry("losses").get(train.algorithm)
    signature = inspect.signature(algorithm)
    arguments = dict(train.parameters())
    if "label_smoothing" in signature.parameters:
        arguments["label_smoothing"] = train.label_smoothing
    elif train.label_smoothing:
        raise UserError(
            f"{train.algorithm}: label_smoothing is {train.label_smoothing}",
            f"{train.algorithm} has no term for pairs that are the wrong way round",
            "Leave label_smoothing out, or use dpo or lc_dpo",
        )
    try:
        signature.bind(**arguments)
    except TypeError as error:
        takes = ", ".join(name.rstrip("_") for name in signature.parameters)
        raise UserError(
            f"{train.algorithm}: {error}", f"it takes: {takes}", "Name exactly these in the block train"
        ) from error
    return with_sft_term(algorithm(**arguments), train.sft_weight or 0.0)
