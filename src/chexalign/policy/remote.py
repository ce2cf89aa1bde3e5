"""Checkpoints that bring their own Python code: what would be run, and whether the recipe lets it.

transformers runs such code with all rights of the user who loads the model. It is never run unasked; and it is written
for one version of transformers, so it may not run under this one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chexalign.errors import UserError
from chexalign.policy.chexagent2.files import is_chexagent2

# The files that may name code, and the key by which transformers finds its own class for each.
_FILES = {
    "config.json": "model_type",
    "tokenizer_config.json": "tokenizer_class",
    "processor_config.json": "processor_class",
    "preprocessor_config.json": "image_processor_type",
}
_MODELS = ("AutoModelForImageTextToText", "AutoModelForVision2Seq", "AutoModelForCausalLM", "AutoModel")
_ELSEWHERE = "--"  # in an entry as "owner/repository--module.Class"


def remote_code_of(folder: Path) -> tuple[str, ...]:
    """The classes of the folder's own code that loading it would run, as "modeling_x.Model"; none for most models.

    Where transformers has a class of its own for a part of the model, that one is used and nothing is run.
    """
    found: set[str] = set()
    for name, key in _FILES.items():
        config = _read(folder / name)
        entries = config.get("auto_map")
        if isinstance(entries, dict) and not _is_known(key, config.get(key)):
            for entry in entries.values():
                found |= {e for e in (entry if isinstance(entry, list) else [entry]) if isinstance(e, str)}
    return tuple(sorted(found))


def check_remote(folder: Path, *, allowed: bool) -> None:
    """Raises: UserError when transformers cannot load the folder, or only by code that the recipe does not allow."""
    if is_chexagent2(folder):  # whose published code is never needed
        return
    config, code = _read(folder / "config.json"), remote_code_of(folder)
    kind = config.get("model_type")
    if "mm_vision_tower" in config:
        raise UserError(
            f"The model folder {folder} is in the layout of the original LLaVA code.",
            "transformers has a model of that name with other names for its weights, and would load none of them.",
            "Convert it to the layout of transformers (LlavaForConditionalGeneration), or serve it with its own code "
            "and name the server in sample.endpoint.",
        )
    if code and not allowed:
        raise UserError(
            f"The model folder {folder} carries its own Python code: {', '.join(code)}.",
            f"transformers has no model type {kind!r}; to load it, that code would be run here with all your rights.",
            "Read the .py files in the folder; if you trust them, set policy.trust_remote_code: true.",
        )
    if elsewhere := [entry for entry in code if _ELSEWHERE in entry]:
        raise UserError(
            f"The code of the model in {folder} is in another repository: {elsewhere[0].partition(_ELSEWHERE)[0]}.",
            "Nothing is downloaded at run time, least of all code.",
            f"Copy its .py files into the folder, and take the name before {_ELSEWHERE} out of auto_map.",
        )
    if kind is not None and not code and not _is_known("model_type", kind):
        raise UserError(
            f"The model in {folder} has the type {kind!r}, which transformers does not know.",
            "The folder carries no code for it either.",
            "Use a newer transformers, or serve the model elsewhere and name the server in sample.endpoint.",
        )


def register_remote(folder: Path) -> None:
    """Makes transformers' Auto classes load the folder with its own code, which is run here: call `check_remote` first.

    From then on in this process its model type means these classes, and what is saved takes their files along. A
    folder without code of its own, or with none that is needed, changes nothing.
    Raises: UserError when the code does not run, or names no configuration or model.
    """
    if is_chexagent2(folder) or not remote_code_of(folder):
        return
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    maps = {
        key: entry for name in reversed(_FILES) for key, entry in (_read(folder / name).get("auto_map") or {}).items()
    }
    model_entry = next((key for key in _MODELS if key in maps), None)
    if "AutoConfig" not in maps or model_entry is None:
        raise UserError(
            f"The code of the model in {folder} names no {'model' if 'AutoConfig' in maps else 'configuration'}.",
            f"auto_map in config.json must have AutoConfig and one of {', '.join(_MODELS)}.",
            "Use the folder as its owner publishes it.",
        )
    config, model = (_own_class(folder, maps[key], key) for key in ("AutoConfig", model_entry))
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModelForImageTextToText.register(config, model, exist_ok=True)
    if "AutoProcessor" in maps:
        AutoProcessor.register(config, _own_class(folder, maps["AutoProcessor"], "AutoProcessor"), exist_ok=True)


def _own_class(folder: Path, entry: str, auto: str) -> Any:
    """A class of the folder's code, which is run to have it."""
    import transformers
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    try:
        found: Any = get_class_from_dynamic_module(entry, folder)
        found.register_for_auto_class(auto)
    except Exception as e:  # whatever that code does
        raise UserError(
            f"The code of the model in {folder} does not run: {entry} ({type(e).__name__}).",
            f"It was written for another version of transformers than {transformers.__version__}, or needs a package "
            "that is not installed.",
            "Serve the model in an environment of its own and name the server in sample.endpoint.",
        ) from e
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_known(key: str, name: Any) -> bool:
    """Whether transformers has a class of its own for a model type or by a class's name."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if key == "model_type":
        return name in CONFIG_MAPPING_NAMES
    return isinstance(name, str) and hasattr(transformers, name)
