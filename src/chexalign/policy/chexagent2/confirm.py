"""What is assumed of the published CheXagent-2-3b, held against a folder: the files themselves were not at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexalign.policy.chexagent2.files import check_weights, tensor, tensor_dtypes
from chexalign.policy.chexagent2.tokenizer import END, IMAGE_START, load_tokenizer

PARAMETERS = 3_140_746_752
POSITIONS = "model.visual.pos_embed"
# Of config.json, which may leave any of them to the code beside it.
_CONFIG = {
    "hidden_size": 2560,
    "num_hidden_layers": 32,
    "vocab_size": 51200,
    "hidden_act": "gelu_new",
    "layer_norm_eps": 1e-5,
    "partial_rotary_factor": 0.4,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "qk_layernorm": False,
    "tie_word_embeddings": False,
}


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that is assumed; `found` is None where the folder does not say, and the assumption stands."""

    what: str
    assumed: Any
    found: Any

    @property
    def agrees(self) -> bool:
        """False only where the folder says otherwise."""
        return self.found is None or self.found == self.assumed

    def __str__(self) -> str:
        verdict = "not said" if self.found is None else "agrees" if self.agrees else "DIFFERS"
        return f"{verdict:8}  {self.what}: assumed {self.assumed}, found {self.found}"


def confirm(folder: Path) -> list[Point]:
    """Every assumption with what the folder says of it.

    Only headers of the weights and one small tensor are read.
    Raises: UserError when names or shapes of the weights are not those of the model.
    """
    return [*_config(folder), *_weights(folder), *_tokenizer(folder), *_images(folder)]


def _config(folder: Path) -> Iterator[Point]:
    found = _json(folder / "config.json")
    found |= {key: value for key, value in (found.get("rope_parameters") or {}).items() if key in _CONFIG}
    for key, value in _CONFIG.items():
        yield Point(f"config.json {key}", value, found.get(key))
    yield Point("config.json image_size", 512, (found.get("visual") or {}).get("image_size"))


def _weights(folder: Path) -> Iterator[Point]:
    import torch

    from chexalign.policy.chexagent2.config import CheXagentConfig
    from chexalign.policy.chexagent2.visual import sincos_table

    yield Point("values in the weights", PARAMETERS, check_weights(folder, CheXagentConfig.from_pretrained(folder)))
    kinds = tensor_dtypes(folder)
    yield Point("kinds of numbers", "F32", ", ".join(sorted(set(kinds.values()))))
    table = tensor(folder, POSITIONS).float()
    ours = sincos_table(table.shape[1], round(len(table) ** 0.5))
    yield Point(
        "the table of positions is sines and cosines of column, then row",
        True,
        torch.allclose(table, ours, rtol=0, atol=1e-2 if kinds[POSITIONS] != "F32" else 1e-4),
    )


def _tokenizer(folder: Path) -> Iterator[Point]:
    tokenizer, settings = load_tokenizer(folder), _json(folder / "tokenizer_config.json")
    known = tokenizer.get_vocab()
    yield Point("id of the end token", 50256, known[END])
    yield Point("id of the first image mark", 50257, known[IMAGE_START])
    yield Point("tokenizer_config.json add_bos_token", False, settings.get("add_bos_token"))
    yield Point("role tags are words, not tokens", True, "<|user|>" not in known)


def _images(folder: Path) -> Iterator[Point]:
    found = _json(folder / "preprocessor_config.json")
    for key, value in (("image_mean", [0.5] * 3), ("image_std", [0.5] * 3), ("size", {"height": 512, "width": 512})):
        yield Point(f"preprocessor_config.json {key}", value, found.get(key))


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found
