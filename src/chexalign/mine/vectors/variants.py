"""What likeness weighs: the modalities of an item, and the published combinations of them by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import get_args

from chexalign.errors import UserError
from chexalign.recipe.mine import Modality

MODALITIES: tuple[Modality, ...] = get_args(Modality)
Weights = Mapping[Modality, float]

_Q, _E, _V, _D = MODALITIES
# Source: the combinations that the tools of CheXPO compare (q question, e explanation, d disease, v image); which of
# them the published set was mined with is not told there.
VARIANTS: dict[str, dict[Modality, float]] = {
    "q+e": {_Q: 1.0, _E: 1.0},
    "q+e+d": {_Q: 1.0, _E: 1.0, _D: 1.0},
    "e+v": {_E: 1.0, _V: 1.0},
    "q+v": {_Q: 1.0, _V: 1.0},
    "q+e+d+v": {_Q: 1.0, _E: 1.0, _D: 1.0, _V: 1.0},
    "q+e+d-v": {_Q: 1.0, _E: 1.0, _D: 1.0, _V: -1.0},
    "q+e-v": {_Q: 1.0, _E: 1.0, _V: -1.0},
}


def weights_of(variant: str | Weights) -> dict[Modality, float]:
    """The weights of a variant by its name, or of one's own, those of 0 left out; a negative one prefers the unlike.

    >>> weights_of("q+e-v")["image"], weights_of({"question": 2, "image": 0})
    (-1.0, {'question': 2.0})

    Raises: UserError for a name or a modality that there is not, a weight that is no number, and no weight at all.
    """
    if isinstance(variant, str):
        if variant not in VARIANTS:
            raise UserError(
                f"There is no variant of similarity {variant!r}.",
                f"The published ones are {', '.join(VARIANTS)}.",
                "Name one of them, or give a weight for each modality.",
            )
        return dict(VARIANTS[variant])
    if unknown := sorted(set(variant) - set(MODALITIES)):
        raise UserError(
            f"The weights of similarity name {', '.join(map(repr, unknown))}.",
            f"The modalities of an item are {', '.join(MODALITIES)}.",
            "Use these names.",
        )
    if wrong := [name for name, weight in variant.items() if not math.isfinite(weight)]:
        raise UserError(
            f"The weight of {wrong[0]} is {variant[wrong[0]]}.", "No distance can be weighed by it.", "Give a number."
        )
    weights = {name: float(variant[name]) for name in MODALITIES if variant.get(name)}
    if not weights:
        raise UserError(
            "All weights of similarity are zero.",
            "Every item would be as near as every other.",
            "Give at least one modality a weight, or name a variant such as 'q+e'.",
        )
    return weights
