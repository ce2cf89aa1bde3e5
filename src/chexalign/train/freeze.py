"""Freezing a vision-language model by part."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

Part = Literal["vision", "projector", "language"]

_MODULES: dict[Part, tuple[str, ...]] = {
    "vision": ("vision_tower", "vision_model", "visual"),
    "projector": ("multi_modal_projector", "connector"),
}


def part_of(parameter_name: str) -> Part:
    """The part that a parameter belongs to; what is neither vision nor projector is language."""
    names = parameter_name.split(".")
    for part, modules in _MODULES.items():
        if any(module in names for module in modules):
            return part
    return "language"


def freeze(model: Any, parts: Collection[Part]) -> None:
    """Makes exactly the parameters outside `parts` trainable."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) not in parts)
