"""CheXagent-2 on disk: telling its folders, making transformers know it, and holding its weights against the model."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from chexalign.errors import UserError
from chexalign.policy.chexagent2.tokenizer import has_tokenizer

_INDEX, _WHOLE = "model.safetensors.index.json", "model.safetensors"
_META = "__metadata__"
_SHOWN = 3  # names in a message


def is_chexagent2(folder: Path) -> bool:
    """True for the published files and for what is saved here; CheXagent-8B has the same model type and is not."""
    config = _json(folder / "config.json")
    return config.get("model_type") == "chexagent" and not {"qformer_config", "text_config"} & config.keys()


def is_complete(folder: Path) -> bool:
    """True when nothing is missing that prompts are made with: the published folder describes no image processor."""
    return is_chexagent2(folder) and has_tokenizer(folder)


def register() -> None:
    """Makes transformers' Auto classes load CheXagent-2 with the classes here, and never with code from its folder.

    Until another class is registered for the type, CheXagent-8B is refused: transformers tells models by it alone.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    from chexalign.policy.chexagent2.config import MODEL_TYPE, CheXagentConfig
    from chexalign.policy.chexagent2.model import CheXagentForCausalLM

    AutoConfig.register(MODEL_TYPE, CheXagentConfig, exist_ok=True)
    for auto in (AutoModelForImageTextToText, AutoModelForCausalLM):
        auto.register(CheXagentConfig, CheXagentForCausalLM, exist_ok=True)


def check_weights(folder: Path, config: Any) -> int:
    """The number of values in the weight files, whose names and shapes are exactly the model's.

    Only headers are read. Without this, transformers would draw missing weights at random and go on.
    Raises: UserError naming what differs.
    """
    found, wanted = tensor_shapes(folder), model_shapes(config)
    missing, more = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    other = sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name])
    if missing or more or other:
        raise UserError(
            f"The weights in {folder} are not those of CheXagent-2 as its config.json describes it.",
            "; ".join(
                f"{what}: {', '.join(names[:_SHOWN])}" + f" and {len(names) - _SHOWN} others" * (len(names) > _SHOWN)
                for what, names in (("missing", missing), ("unknown", more), ("of another shape", other))
                if names
            )
            + ".",
            "Complete the folder; where only shapes differ, config.json needs the right sizes.",
        )
    return sum(_product(shape) for shape in found.values())


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in a folder's safetensors files, by name.

    Raises: UserError when there are no such files, or one is cut short.
    """
    return {name: tuple(entry["shape"]) for path in _files(folder) for name, entry in _header(path).items()}


def tensor_dtypes(folder: Path) -> dict[str, str]:
    """How the numbers of each tensor are stored, in the words of safetensors: F32, BF16, F16."""
    return {name: str(entry["dtype"]) for path in _files(folder) for name, entry in _header(path).items()}


def tensor(folder: Path, name: str) -> Any:
    """One tensor of a folder's safetensors files."""
    from safetensors import safe_open

    path = next(path for path in _files(folder) if name in _header(path))
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name)


def model_shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor that the model of a configuration reads, by its published name; no memory is taken."""
    import torch

    from chexalign.policy.chexagent2.model import CheXagentForCausalLM

    with torch.device("meta"):
        model = CheXagentForCausalLM(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _files(folder: Path) -> list[Path]:
    listed = _json(folder / _INDEX).get("weight_map")
    return [folder / name for name in sorted(set(listed.values()))] if listed else [folder / _WHOLE]


def _header(path: Path) -> dict[str, dict[str, Any]]:
    """What the file says of each tensor: `shape`, `dtype` and where it lies."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            entries: dict[str, dict[str, Any]] = json.loads(file.read(length))
            whole = 8 + length + max((e["data_offsets"][1] for n, e in entries.items() if n != _META), default=0)
            if whole > path.stat().st_size:
                raise ValueError("data are missing")
    except (OSError, ValueError, struct.error) as e:
        raise UserError(
            f"The weight file {path} is missing or cut short ({type(e).__name__}).",
            "The model would be incomplete.",
            "Fetch the file again; weights are read from safetensors files alone.",
        ) from e
    return {name: entry for name, entry in entries.items() if name != _META}


def _product(shape: tuple[int, ...]) -> int:
    out = 1
    for size in shape:
        out *= size
    return out


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
