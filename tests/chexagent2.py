"""CheXagent-2 in small: a folder in the published layout with random weights, and the forward written out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import gelu, layer_norm, linear, softmax

from chexalign.policy.base import Ask

Shapes = dict[str, tuple[int, ...]]
END = "<|endoftext|>"
BASE = 266  # tokens of the vocabulary below, the end token last


@dataclass(frozen=True)
class Sizes:
    """What the shapes depend on; `side` is that of the grid of patches."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    tower_width: int
    tower_layers: int
    tower_heads: int
    side: int
    patch: int

    @property
    def image(self) -> int:
        return self.side * self.patch


PUBLISHED = Sizes(51200, 2560, 32, 32, 1024, 24, 16, 32, 16)
PUBLISHED_PARAMETERS = 3_140_746_752
TINY = Sizes(384, 16, 3, 2, 8, 2, 2, 4, 4)
ROTARY, EPS, TOWER_EPS = 0.5, 1e-5, 1e-6


def shapes(s: Sizes) -> Shapes:
    """Every tensor of the published file."""
    n, t = s.width, s.tower_width
    out: Shapes = {"model.embed_tokens.weight": (s.vocabulary, n)}
    out |= _linear("lm_head", n, s.vocabulary) | _norm("model.final_layernorm", n)
    for i in range(s.layers):
        layer = f"model.layers.{i}"
        out |= _norm(f"{layer}.input_layernorm", n)
        for name in ("q_proj", "k_proj", "v_proj", "dense"):
            out |= _linear(f"{layer}.self_attn.{name}", n, n)
        out |= _linear(f"{layer}.mlp.fc1", n, 4 * n) | _linear(f"{layer}.mlp.fc2", 4 * n, n)
    tower = "model.visual.model"
    out[f"{tower}.embeddings.patch_embedding.weight"] = (t, 3, s.patch, s.patch)
    out[f"{tower}.embeddings.patch_embedding.bias"] = (t,)
    out[f"{tower}.embeddings.position_embedding.weight"] = (s.side**2, t)
    for i in range(s.tower_layers):
        layer = f"{tower}.encoder.layers.{i}"
        out |= _norm(f"{layer}.layer_norm1", t) | _norm(f"{layer}.layer_norm2", t)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            out |= _linear(f"{layer}.self_attn.{name}", t, t)
        out |= _linear(f"{layer}.mlp.fc1", t, 4 * t) | _linear(f"{layer}.mlp.fc2", 4 * t, t)
    out |= _norm(f"{tower}.post_layernorm", t) | _norm(f"{tower}.head.layernorm", t)
    out[f"{tower}.head.probe"] = (1, 1, t)
    out[f"{tower}.head.attention.in_proj_weight"] = (3 * t, t)
    out[f"{tower}.head.attention.in_proj_bias"] = (3 * t,)
    out |= _linear(f"{tower}.head.attention.out_proj", t, t)
    out |= _linear(f"{tower}.head.mlp.fc1", t, 4 * t) | _linear(f"{tower}.head.mlp.fc2", 4 * t, t)
    out["model.visual.pos_embed"] = (s.side**2, t)
    out |= _linear("model.visual.attn_pool.0", t, 4 * n) | _linear("model.visual.attn_pool.2", 4 * n, n)
    out |= _norm("model.visual.ln_post", n)
    out["model.visual.proj"] = (n, n)
    return out


def _linear(name: str, width: int, to: int) -> Shapes:
    return {f"{name}.weight": (to, width), f"{name}.bias": (to,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def random_weights(s: Sizes, *, scale: float = 0.4, seed: int = 0) -> dict[str, torch.Tensor]:
    """At the scale for small sizes large enough that every piece of the forward matters to the logits."""
    g = torch.Generator().manual_seed(seed)
    out = {}
    for name, shape in sorted(shapes(s).items()):
        size = scale if len(shape) > 1 else 0.1
        out[name] = torch.randn(shape, generator=g) * size + (1.0 if "norm" in name or "ln_" in name else 0.0)
    out["model.visual.pos_embed"] = position_table(s)
    return out


def position_table(s: Sizes) -> torch.Tensor:
    """For each patch, row by row: sin and cos of its column, then of its row."""
    half, rows = s.tower_width // 2, []
    for row in range(s.side):
        for column in range(s.side):
            values: list[float] = []
            for place in (column, row):
                angles = [place / 10000 ** (i / (half // 2)) for i in range(half // 2)]
                values += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            rows.append(values)
    return torch.tensor(rows)


# A folder on disk -------------------------------------------------------------------------------------------------


def write(folder: Path, weights: Mapping[str, torch.Tensor] | None = None, s: Sizes = TINY) -> Path:
    """The published set of files: config.json with names of remote code, vocabulary, merges, and weights in shards."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(s)))
    (folder / "modeling_chexagent.py").write_text("raise AssertionError('remote code was run')\n")
    write_tokenizer(folder)
    write_weights(folder, random_weights(s) if weights is None else weights)
    return folder


def config(s: Sizes) -> dict[str, Any]:
    """The published keys as far as they are known; sizes of the tower beside them, which there are another file's."""
    return {
        "architectures": ["CheXagentForCausalLM"],
        "auto_map": {
            "AutoConfig": "modeling_chexagent.CheXagentConfig",
            "AutoModelForCausalLM": "modeling_chexagent.CheXagentForCausalLM",
        },
        "model_type": "chexagent",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "vocab_size": s.vocabulary,
        "hidden_size": s.width,
        "intermediate_size": 4 * s.width,
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "hidden_act": "gelu_new",
        "layer_norm_eps": EPS,
        "max_position_embeddings": 64,
        "partial_rotary_factor": ROTARY,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.0,
        "qk_layernorm": False,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.40.0",
        "visual": {"image_size": s.image, "output_dim": s.width, "n_queries": 256},
        "vision_config": {
            "hidden_size": s.tower_width,
            "intermediate_size": 4 * s.tower_width,
            "num_hidden_layers": s.tower_layers,
            "num_attention_heads": s.tower_heads,
            "image_size": s.image,
            "patch_size": s.patch,
        },
    }


def write_tokenizer(folder: Path) -> None:
    """Byte-level BPE: all bytes, the end token, and a few merges."""
    from tokenizers import pre_tokenizers

    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("e", "s"), ("l", "u"), ("lu", "n"), ("lun", "g"), ("ĠC", "X")]
    merges.insert(7, ("Ġ", "C"))
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges), END]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")


def write_weights(folder: Path, weights: Mapping[str, torch.Tensor], shards: int = 3) -> None:
    """Safetensors files and their index."""
    from safetensors.torch import save_file

    names = sorted(weights)
    files = {name: f"model-{i % shards + 1:05d}-of-{shards:05d}.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        part = {name: weights[name].contiguous() for name in names if files[name] == file}
        save_file(part, folder / file, {"format": "pt"})
    index = {"metadata": {"total_size": sum(t.nbytes for t in weights.values())}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def asks(folder: Path) -> list[Ask]:
    """With two images, one, and none; they are written to the folder."""
    rng, paths = np.random.default_rng(3), [folder / f"{i}.png" for i in range(3)]
    for path, (height, width) in zip(paths, [(20, 31), (16, 16), (40, 12)], strict=True):
        Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)).save(path)
    return [Ask("Describe the lungs.", tuple(paths[:2])), Ask("What is new?", (paths[2],)), Ask("Say hello.", ())]


# The forward ------------------------------------------------------------------------------------------------------


def logits(
    w: Mapping[str, torch.Tensor], s: Sizes, ids: torch.Tensor, images: Sequence[torch.Tensor], image_id: int
) -> torch.Tensor:
    """[T, vocabulary] of one sequence [T]; its images [3, height, width] go where ids are `image_id`, in order."""
    x = w["model.embed_tokens.weight"][ids]
    x[ids == image_id] = torch.cat([see(w, s, image) for image in images] or [x[:0]])
    positions = torch.arange(len(ids))
    for i in range(s.layers):
        layer = f"model.layers.{i}"
        y = _normed(w, f"{layer}.input_layernorm", x, EPS)
        mlp = gelu(_applied(w, f"{layer}.mlp.fc1", y), approximate="tanh")
        x = x + _attended(w, s, f"{layer}.self_attn", y, positions) + _applied(w, f"{layer}.mlp.fc2", mlp)
    return _applied(w, "lm_head", _normed(w, "model.final_layernorm", x, EPS))


def see(w: Mapping[str, torch.Tensor], s: Sizes, image: torch.Tensor) -> torch.Tensor:
    """[patches, width] of one image [3, height, width]."""
    tower = "model.visual.model"
    kernel = w[f"{tower}.embeddings.patch_embedding.weight"].flatten(1)
    patches = image.unfold(1, s.patch, s.patch).unfold(2, s.patch, s.patch)  # [3, side, side, patch, patch]
    flat = patches.permute(1, 2, 0, 3, 4).reshape(s.side**2, -1)
    x = linear(flat, kernel, w[f"{tower}.embeddings.patch_embedding.bias"])
    x = x + w[f"{tower}.embeddings.position_embedding.weight"]
    for i in range(s.tower_layers):
        layer = f"{tower}.encoder.layers.{i}"
        y = _normed(w, f"{layer}.layer_norm1", x, TOWER_EPS)
        heads = [
            _applied(w, f"{layer}.self_attn.{name}", y).unflatten(1, (s.tower_heads, -1)).transpose(0, 1)
            for name in ("q_proj", "k_proj", "v_proj")
        ]
        scores = heads[0] @ heads[1].transpose(1, 2) / math.sqrt(s.tower_width / s.tower_heads)
        x = x + _applied(w, f"{layer}.self_attn.out_proj", (softmax(scores, -1) @ heads[2]).transpose(0, 1).flatten(1))
        y = _normed(w, f"{layer}.layer_norm2", x, TOWER_EPS)
        x = x + _applied(w, f"{layer}.mlp.fc2", gelu(_applied(w, f"{layer}.mlp.fc1", y), approximate="tanh"))
    x = _applied(w, "model.visual.attn_pool.0", x + w["model.visual.pos_embed"])
    x = _applied(w, "model.visual.attn_pool.2", gelu(x))
    return _normed(w, "model.visual.ln_post", x, 1e-6) @ w["model.visual.proj"]


def _attended(
    w: Mapping[str, torch.Tensor], s: Sizes, name: str, x: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    q, k, v = (
        _applied(w, f"{name}.{part}", x).unflatten(1, (s.heads, -1)).transpose(0, 1)
        for part in ("q_proj", "k_proj", "v_proj")
    )
    scores = _rotated(q, positions) @ _rotated(k, positions).transpose(1, 2) / math.sqrt(s.width / s.heads)
    later = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    out = softmax(scores.masked_fill(later, -math.inf), -1) @ v
    return _applied(w, f"{name}.dense", out.transpose(0, 1).flatten(1))


def _rotated(x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """The first part of each head turned by its position, the two halves of that part being the coordinates."""
    turned = int(x.shape[-1] * ROTARY)
    half = turned // 2
    angles = positions[:, None] / 10000 ** (torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:turned]
    both = [a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()]
    return torch.cat([*both, x[..., turned:]], -1)


def _applied(w: Mapping[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    return linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def _normed(w: Mapping[str, torch.Tensor], name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
    return layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)
