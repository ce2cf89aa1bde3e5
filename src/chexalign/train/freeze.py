"""Freezing a vision-language model by part."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

Part = Literal["vision", "projector", "language"]

# In the order in which they are asked for: the merger of Qwen's models lies inside their vision module, and so does the
# connector of CheXagent-2, whose last matrix has a name that others use elsewhere.
_MODULES: dict[Part, tuple[str, ...]] = {
    "projector": (
        *("multi_modal_projector", "connector", "merger", "deepstack_merger_list"),
        *("visual.attn_pool", "visual.ln_post", "visual.proj"),
    ),
    "vision": ("vision_tower", "vision_model", "visual"),
}


def part_of(parameter_name: str) -> Part:
    """The part that a parameter belongs to; what is neither vision nor projector is language."""
    name = f".{parameter_name}."
    for part, modules in _MODULES.items():
        if any(f".{module}." in name for module in modules):
            return part
    return "language"


def freeze(model: Any, parts: Collection[Part]) -> None:
    """Makes exactly the parameters outside `parts` trainable."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) not in parts)
