"""What differs between model architectures when one row holds a prompt and several completions of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Family:
    """A decoder that is causal throughout, as Llava, Idefics3, SmolVLM and InternVL are; also what is unknown."""

    config: Any

    @property
    def reason(self) -> str | None:
        """Why completions cannot share a prompt under this model, or None when they can."""
        attention = self.config.get_text_config()._attn_implementation
        if attention not in ("sdpa", "eager"):
            return f"attention implementation {attention} takes no mask of its own; sdpa and eager do"
        return None

    @property
    def supports_sharing(self) -> bool:
        """True when `inputs` can build a mask that the model's attention obeys."""
        return self.reason is None

    def inputs(self, model: Any, batch: dict[str, torch.Tensor], vision: dict[str, Any]) -> dict[str, Any]:
        """Arguments of the model's forward by which each completion sees its prompt and itself, and nothing else."""
        return {"attention_mask": self._native(visible(batch["segments"]), model), "position_ids": batch["positions"]}

    def token_types(self, ids: torch.Tensor, completion: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the family's processor gives beside ids and a 2D mask; ids [B, T], completion [B, T] bool."""
        return {}

    def _native(self, mask: torch.Tensor, model: Any) -> torch.Tensor:
        """The mask as the attention implementation reads it: [B, 1, L, L], bool for sdpa, added to scores in eager."""
        if self.config.get_text_config()._attn_implementation == "sdpa":
            return mask[:, None]
        dtype = model.get_input_embeddings().weight.dtype
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)[
            :, None
        ]


def unwrap(model: Any) -> Any:
    """The transformers model inside DDP, FSDP, torch.compile and peft wrappers."""
    while True:
        inner = getattr(model, "module", None) or getattr(model, "_orig_mod", None)
        if not isinstance(inner, torch.nn.Module) and hasattr(model, "get_base_model"):
            inner = model.get_base_model()
        if not isinstance(inner, torch.nn.Module):
            return model
        model = inner


def family_of(model: Any) -> Family:
    """The family of a model, possibly wrapped, by its `config.model_type`; plain causal when the type is unknown."""
    return Family(unwrap(model).config)


def visible(segments: torch.Tensor) -> torch.Tensor:
    """[B, L, L] bool: which key (last) each query may see; padding sees itself and is seen by nothing else.

    A query sees the prompt and its own completion up to itself.
    """
    columns = torch.arange(segments.shape[1], device=segments.device)
    own = torch.where(segments < 0, -1 - columns, segments)  # each padding is a segment of its own
    query, key = own[:, :, None], own[:, None, :]
    return (columns[:, None] >= columns) & ((key == 0) | (key == query))
