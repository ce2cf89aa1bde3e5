"""How much memory sampling takes, reckoned from a model's config, and how much is free."""

from __future__ import annotations

from typing import Any

# What is reckoned leaves out what libraries keep for themselves and how memory falls to pieces.
_USABLE = 0.7


def bytes_per_prompt(config: Any, *, tokens: int, draws: int, new_tokens: int, itemsize: int) -> int:
    """Bytes that one prompt takes while its `draws` completions grow together; weights are not counted.

    The largest of it is keys and values: those of the prompt once, and then of prompt and completion once per draw.
    `tokens` is the prompt's length with its images; `itemsize` the bytes of a number.
    """
    text = config.get_text_config()
    heads = text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    per_token = 2 * text.num_hidden_layers * kv_heads * width * itemsize
    cache = per_token * (tokens + draws * (tokens + new_tokens) * 5 // 4)  # room is a quarter more
    prefill = tokens * itemsize * (8 * text.hidden_size + 3 * text.intermediate_size) + tokens * tokens
    logits = draws * text.vocab_size * (4 + 8 + 8)  # float32, and float64 twice while a token is chosen
    return int(cache + prefill + logits)


def free_bytes(device: Any) -> int:
    """Memory that a batch may take on the device: that of the GPU, or what the machine says is available."""
    import torch

    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(_USABLE * (free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)))
    import psutil

    return int(_USABLE * psutil.virtual_memory().available)
