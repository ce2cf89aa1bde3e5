"""Adapters on the language model, through peft: added before training, merged into the weights after it."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file

from chexalign.errors import UserError
from chexalign.train.freeze import Part, part_of
from chexalign.train.settings import no_peft

ADAPTER = "adapter"  # a folder inside the checkpoint
OTHERS = "trained_in_full.safetensors"  # what was trained beside the adapters, in the same folder

# Attention and MLP of the language models that the families of chexalign.policy.families have.
LINEARS = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj"),
    *("gate_proj", "up_proj", "gate_up_proj", "down_proj"),
    *("dense", "fc1", "fc2"),  # Phi's names
)


def add_lora(model: Any, spec: Any, frozen: Collection[Part], *, seed: int = 0) -> Any:
    """The model with adapters on the linear layers of its language model, which are all of it that is trained.

    `spec` is a LoraSpec. Parts other than the language model that `frozen` does not name are trained in full. An
    adapter starts as zero, so the first outputs are those of `model`, whose layers are replaced in place.
    Raises: UserError when peft is missing, or no layer has one of the names in `spec.targets`.
    """
    peft = _peft()
    layers = targets(model, spec.targets)
    config = peft.LoraConfig(
        r=spec.r, lora_alpha=spec.alpha, lora_dropout=spec.dropout, target_modules=layers, bias="none"
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads an attribute that transformers renamed
        torch.manual_seed(seed)  # of the adapters' first factor
        adapted = peft.get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_" not in name and part_of(name) not in {*frozen, "language"}:
            parameter.requires_grad_(True)
    return adapted


def targets(model: Any, last_names: Collection[str] | None) -> list[str]:
    """Full names of the language model's linear layers to adapt.

    Raises: UserError when one of `last_names` is no layer's, or is that of a head whose weights are the embeddings.
    """
    linears = {
        name: module
        for name, module in model.named_modules()
        if part_of(name) == "language" and isinstance(module, torch.nn.Linear)
    }
    there = {name.rpartition(".")[2] for name in linears}
    wanted = set(LINEARS) & there if last_names is None else set(last_names)
    embeddings = model.get_input_embeddings().weight
    free = {name.rpartition(".")[2] for name, module in linears.items() if module.weight is not embeddings}
    if not wanted or wanted - free:
        raise UserError(
            f"policy.lora.targets names {', '.join(sorted(wanted - free)) or 'nothing'}.",
            f"The language model has no such linear layer, or shares its weights with the embeddings: it has "
            f"{', '.join(sorted(free))}.",
            "Name some of these, or leave targets out for those of attention and of the MLP.",
        )
    return [name for name in linears if name.rpartition(".")[2] in wanted]


def is_adapted(model: Any) -> bool:
    """True for what `add_lora` returned."""
    return hasattr(model, "merge_and_unload")


def merge(model: Any) -> Any:
    """The model without adapters whose weights have them added in; `model` is used up."""
    return model.merge_and_unload()


def merge_into(base: Any, model: Any, weights: dict[str, torch.Tensor] | None) -> Any:
    """Like `merge`, for a model in memory that is quantized or sharded: its adapters are added to `base`.

    `base` holds the unquantized weights that the training began with; `weights` are all that was trained, by the names
    of `model`, or None to take them from `model`.
    """
    config = dataclasses.replace(model.peft_config["default"], inference_mode=False)
    fresh = _peft().get_peft_model(base, config)
    found = trained(model) if weights is None else {name: weights[name] for name in trained(model)}
    fresh.load_state_dict({name: tensor.to(torch.float32) for name, tensor in found.items()}, strict=False)
    return merge(fresh)


def trained(model: Any) -> dict[str, torch.Tensor]:
    """The trainable parameters by name, on the CPU."""
    return {name: p.detach().cpu() for name, p in model.named_parameters() if p.requires_grad}


def save_adapter(model: Any, folder: Path, weights: dict[str, torch.Tensor] | None = None) -> None:
    """Writes the adapters alone, which `peft.PeftModel.from_pretrained` adds to the model they were trained on.

    What was trained in full beside them goes into a file of its own, by the names of that model.
    """
    model.save_pretrained(folder, state_dict=weights, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's form of a model card; ours is that of the checkpoint
    names = [name for name, p in model.named_parameters() if p.requires_grad and "lora_" not in name]
    if names:
        tensors = trained(model) if weights is None else weights
        others = {name.removeprefix("base_model.model."): tensors[name].contiguous() for name in names}
        save_file(others, folder / OTHERS)


def clear_adapter(folder: Path) -> None:
    """Removes an adapter that another training left in a checkpoint's folder."""
    shutil.rmtree(folder / ADAPTER, ignore_errors=True)


def load_nf4(folder: Path) -> Any:
    """The checkpoint with the linear layers of its language model in 4 bits; the rest in bfloat16.

    Raises: UserError without a CUDA device or without bitsandbytes.
    """
    need_nf4()
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=[
            "vision_tower",
            "vision_model",
            "visual",
            "multi_modal_projector",
            "connector",
            "lm_head",
        ],
    )
    return AutoModelForImageTextToText.from_pretrained(
        folder, quantization_config=config, dtype=torch.bfloat16, device_map={"": torch.cuda.current_device()}
    ).eval()


def need_nf4() -> None:
    """Raises: UserError when this machine cannot train over 4-bit weights."""
    import importlib.util

    lacking = [
        what
        for what, there in (
            ("a CUDA device", torch.cuda.is_available()),
            ("the package bitsandbytes", importlib.util.find_spec("bitsandbytes") is not None),
        )
        if not there
    ]
    if lacking:
        raise UserError(
            "policy.lora.quantize is nf4.",
            f"Training over 4-bit weights needs {' and '.join(lacking)}, not found here.",
            "Leave quantize out: adapters on unquantized weights train anywhere.",
        )


def _peft() -> ModuleType:
    try:
        import peft
    except ImportError as e:
        raise no_peft() from e
    return peft
