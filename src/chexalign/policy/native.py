"""The one door to checkpoints on disk: models that transformers lacks are made known to it before it reads a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chexalign.policy.chexagent2.files import check_weights, is_chexagent2, is_complete, register
from chexalign.policy.chexagent2.processor import load_parts
from chexalign.policy.families import family_of
from chexalign.policy.processor import load_processor as load_of_transformers


def load_config(folder: Path, *, weights: bool = True) -> Any:
    """The configuration of a checkpoint; from here on transformers' Auto classes load its model.

    Raises: UserError when the model is one of ours and, unless `weights` is False, its weight files are not.
    """
    from transformers import AutoConfig

    ours = is_chexagent2(folder)
    if ours:
        register()
    config = AutoConfig.from_pretrained(folder)
    if ours and weights:
        check_weights(folder, config)
    return config


def load_processor(folder: Path, config: Any) -> Any:
    """What turns prompts and images into the model's inputs.

    Raises: UserError when it cannot be had.
    """
    return load_parts(folder, config) if is_chexagent2(folder) else load_of_transformers(folder, config)


def makes_prompts(folder: Path) -> bool:
    """True when a folder without a processor's files has what its processor is built from."""
    return is_complete(folder)


def forbid(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """The ids that no report may hold, after telling the model's generation config of them.

    So plain `generate` obeys too, and so does whoever loads what is saved. Where there are some, the model's end token
    also becomes the tokenizer's: CheXagent-2 was published with another one in its configuration.
    """
    banned = family_of(model).banned(tokenizer, len(model.get_input_embeddings().weight))
    if banned:
        model.generation_config.suppress_tokens = list(banned)
        model.generation_config.eos_token_id = model.generation_config.bos_token_id = tokenizer.eos_token_id
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    return banned
