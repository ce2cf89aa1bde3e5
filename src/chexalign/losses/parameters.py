"""What the losses demand of their parameters."""

from __future__ import annotations

import math

from chexalign.errors import UserError


def need_positive(algorithm: str, name: str, value: float, *, why: str, fix: str) -> None:
    """Nothing happens when the value is a positive, finite number.

    Raises: UserError with `why` and `fix` otherwise.
    """
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"{algorithm}: {name} is {value}", why, fix)


def need_smoothing(algorithm: str, value: float) -> None:
    """Nothing happens when the value can be the chance that a pair is the wrong way round.

    Raises: UserError otherwise.
    """
    if not 0 <= value < 0.5:
        raise UserError(
            f"{algorithm}: label_smoothing is {value}",
            "it is the chance that a pair is the wrong way round; at 0.5 a pair says nothing",
            "Set label_smoothing to 0, or to a value below 0.5",
        )
