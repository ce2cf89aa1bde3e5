"""Which family a model belongs to: what differs between architectures when completions share a prompt."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from chexalign.policy.chexagent2.family import CheXagent2
from chexalign.policy.families_causal import Batch, Family
from chexalign.policy.families_other import Gemma3, Idefics3, InternVL, MRope, PaliGemma

__all__ = ["Batch", "Family", "family_of", "unwrap"]

_BY_MODEL_TYPE: dict[str, type[Family]] = {
    "qwen2_vl": MRope,
    "qwen2_5_vl": MRope,
    "qwen3_vl": MRope,
    "qwen3_vl_moe": MRope,
    "gemma3": Gemma3,
    "paligemma": PaliGemma,
    "idefics3": Idefics3,
    "smolvlm": Idefics3,
    "internvl": InternVL,
    "chexagent": CheXagent2,
}


def family_of(model: Any) -> Family:
    """The family of a model, possibly wrapped, by its `config.model_type`; plain causal where the type is not listed.

    So whether sharing is right for an unlisted type has to be found by comparison with separate sequences.
    """
    model = unwrap(model)
    accepts = frozenset(inspect.signature(type(model).forward).parameters)
    return _BY_MODEL_TYPE.get(model.config.model_type, Family)(model.config, accepts)


def unwrap(model: Any) -> Any:
    """The transformers model inside DDP, FSDP, DeepSpeed, torch.compile and peft wrappers."""
    while True:
        inner = getattr(model, "module", None) or getattr(model, "_orig_mod", None)
        if not isinstance(inner, torch.nn.Module) and hasattr(model, "get_base_model"):
            inner = model.get_base_model()
        if not isinstance(inner, torch.nn.Module):
            return model
        model = inner
