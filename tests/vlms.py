"""Tiny vision-language models of every supported family, with random weights, and batches as their processors make."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from chexalign.train.pack import Example

IMAGE, START, END, EXTRA, VIDEO = 99, 98, 97, 96, 95  # ids of special tokens
VOCABULARY, WORDS = 100, range(3, 90)
EOS = 2

_TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": EOS,
}
_TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}


@dataclass(frozen=True)
class VLM:
    """How to make one family's model, and what an image is for it."""

    config: Callable[[], Any]
    model_class: str  # of transformers, or with its module
    image: Callable[[torch.Generator], dict[str, torch.Tensor]]  # the inputs of one image
    span: Callable[[dict[str, torch.Tensor]], list[int]]  # the tokens that stand for it
    attentions: tuple[str, ...] = ("sdpa", "eager")


def _pixels(side: int) -> Callable[[torch.Generator], dict[str, torch.Tensor]]:
    return lambda g: {"pixel_values": torch.randn(1, 3, side, side, generator=g)}


def _grid(temporal: int, patch: int) -> Callable[[torch.Generator], dict[str, torch.Tensor]]:
    """An image of Qwen's kind: flat patches, of a random number of rows and columns."""

    def image(g: torch.Generator) -> dict[str, torch.Tensor]:
        height, width = (2 * int(torch.randint(1, 4, (), generator=g)) for _ in "hw")
        values = torch.randn(height * width, 3 * temporal * patch**2, generator=g)
        return {"pixel_values": values, "image_grid_thw": torch.tensor([[1, height, width]])}

    return image


def _tiles(g: torch.Generator) -> dict[str, torch.Tensor]:
    """An image of Idefics3's kind, its lower quarter masked out as padding."""
    mask = torch.ones(1, 1, 16, 16, dtype=torch.int64)
    mask[..., 12:, :] = 0
    return {"pixel_values": torch.randn(1, 1, 3, 16, 16, generator=g), "pixel_attention_mask": mask}


def _qwen_span(inputs: dict[str, torch.Tensor]) -> list[int]:
    return [START, *[IMAGE] * (int(inputs["image_grid_thw"].prod()) // 4), END]


def _llava(text: str) -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, MistralConfig, PhiConfig

    body = {
        "llama": lambda: LlamaConfig(**_TEXT),
        "phi": lambda: PhiConfig(**_TEXT, partial_rotary_factor=0.5),
        "mistral": lambda: MistralConfig(**_TEXT, sliding_window=6),  # shorter than every example
    }[text]()
    tower = CLIPVisionConfig(**{**_TOWER, "num_hidden_layers": 3}, image_size=8, patch_size=4)
    return LlavaConfig(vision_config=tower, text_config=body, image_token_id=IMAGE, vision_feature_layer=-2)


def _qwen2_vl() -> Any:
    from transformers import Qwen2VLConfig

    tower = {"depth": 2, "embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2, "num_heads": 2, "patch_size": 4}
    return Qwen2VLConfig(vision_config=tower, text_config={**_TEXT, "rope_parameters": _ROPE}, **_qwen_tokens())


def _qwen2_5_vl() -> Any:
    from transformers import Qwen2_5_VLConfig

    tower = {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 4,
        "window_size": 16,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [1],
    }
    return Qwen2_5_VLConfig(vision_config=tower, text_config={**_TEXT, "rope_parameters": _ROPE}, **_qwen_tokens())


def _qwen3_vl() -> Any:
    from transformers import Qwen3VLConfig

    tower = {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 4,
        "out_hidden_size": 32,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0, 1],
    }
    rope = {**_ROPE, "mrope_interleaved": True}
    # Deep features are added after the first two layers, and only layers after that carry them to other tokens.
    text = {**_TEXT, "num_hidden_layers": 3, "head_dim": 8, "rope_parameters": rope}
    return Qwen3VLConfig(vision_config=tower, text_config=text, **_qwen_tokens())


def _qwen_tokens() -> dict[str, int]:
    return {
        "image_token_id": IMAGE,
        "video_token_id": VIDEO,
        "vision_start_token_id": START,
        "vision_end_token_id": END,
    }


def _gemma3() -> Any:
    from transformers import Gemma3Config

    text = {
        **_TEXT,
        "head_dim": 8,
        "sliding_window": 6,  # shorter than every example
        "layer_types": ["sliding_attention", "full_attention"],
        "query_pre_attn_scalar": 8,
    }
    return Gemma3Config(
        text_config=text,
        vision_config={**_TOWER, "image_size": 16, "patch_size": 4, "vision_use_head": False},
        mm_tokens_per_image=4,
        image_token_index=IMAGE,
        boi_token_index=START,
        eoi_token_index=END,
    )


def _paligemma(text: str) -> Any:
    from transformers import PaliGemmaConfig

    body = {**_TEXT, "model_type": text, "head_dim": 8}
    if text == "gemma2":
        body |= {"sliding_window": 64, "query_pre_attn_scalar": 8}
    return PaliGemmaConfig(
        text_config=body,
        vision_config={**_TOWER, "image_size": 8, "patch_size": 4, "vision_use_head": False, "projection_dim": 32},
        projection_dim=32,
        hidden_size=32,
        image_token_index=IMAGE,
    )


def _tiled(name: str) -> Any:
    from transformers import Idefics3Config, SmolVLMConfig

    make = Idefics3Config if name == "idefics3" else SmolVLMConfig
    return make(
        text_config={**_TEXT, "model_type": "llama"},
        vision_config={**_TOWER, "image_size": 16, "patch_size": 4},
        scale_factor=2,
        image_token_id=IMAGE,
    )


def _internvl() -> Any:
    from transformers import InternVLConfig

    tower = {**_TOWER, "image_size": 16, "patch_size": 4}
    return InternVLConfig(
        text_config={**_TEXT, "model_type": "qwen2"}, vision_config=tower, image_token_id=IMAGE, image_seq_length=4
    )


def _chexagent2() -> Any:
    from chexalign.policy.chexagent2.config import CheXagentConfig

    tower = {**_TOWER, "image_size": 8, "patch_size": 4}
    own = {"num_key_value_heads": 4, "partial_rotary_factor": 0.5, "image_token_id": IMAGE, "pad_token_id": None}
    return CheXagentConfig(**{**_TEXT, **own}, vision_config=tower)


def _between(n: int) -> Callable[[dict[str, torch.Tensor]], list[int]]:
    return lambda _: [START, *[IMAGE] * n, END]


def _bare(n: int) -> Callable[[dict[str, torch.Tensor]], list[int]]:
    return lambda _: [IMAGE] * n


_TILE = [EXTRA, START, *[IMAGE] * 4, EXTRA]

FAMILIES: dict[str, VLM] = {
    "llava_llama": VLM(lambda: _llava("llama"), "LlavaForConditionalGeneration", _pixels(8), _bare(4)),
    "llava_phi": VLM(lambda: _llava("phi"), "LlavaForConditionalGeneration", _pixels(8), _bare(4)),
    "llava_mistral": VLM(lambda: _llava("mistral"), "LlavaForConditionalGeneration", _pixels(8), _bare(4)),
    "qwen2_vl": VLM(_qwen2_vl, "Qwen2VLForConditionalGeneration", _grid(2, 4), _qwen_span),
    "qwen2_5_vl": VLM(_qwen2_5_vl, "Qwen2_5_VLForConditionalGeneration", _grid(2, 4), _qwen_span),
    "qwen3_vl": VLM(_qwen3_vl, "Qwen3VLForConditionalGeneration", _grid(2, 4), _qwen_span),
    "gemma3": VLM(_gemma3, "Gemma3ForConditionalGeneration", _pixels(16), _between(4)),
    "paligemma": VLM(lambda: _paligemma("gemma"), "PaliGemmaForConditionalGeneration", _pixels(8), _bare(4)),
    # Gemma 2 has no sdpa: it caps the scores.
    "paligemma2": VLM(
        lambda: _paligemma("gemma2"), "PaliGemmaForConditionalGeneration", _pixels(8), _bare(4), ("eager",)
    ),
    "idefics3": VLM(lambda: _tiled("idefics3"), "Idefics3ForConditionalGeneration", _tiles, lambda _: _TILE),
    "smolvlm": VLM(lambda: _tiled("smolvlm"), "SmolVLMForConditionalGeneration", _tiles, lambda _: _TILE),
    "internvl": VLM(_internvl, "InternVLForConditionalGeneration", _pixels(16), _between(4)),
    "chexagent2": VLM(_chexagent2, "chexalign.policy.chexagent2.model.CheXagentForCausalLM", _pixels(8), _between(4)),
}


def make(name: str, attn: str = "sdpa", *, seed: int = 0) -> Any:
    """The family's model in float32 and evaluation mode; its weights are large enough that masks matter."""
    config = FAMILIES[name].config()
    config._attn_implementation = attn
    torch.manual_seed(seed)
    module, _, class_name = FAMILIES[name].model_class.rpartition(".")
    model = getattr(importlib.import_module(module or "transformers"), class_name)._from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * 0.15)
    return model


def examples(
    name: str, model: Any, *, n_images: int, rows: int, branches: int, seed: int = 0
) -> tuple[list[Example], dict[str, torch.Tensor]]:
    """Rows of ragged prompts and completions, and the batch's image inputs."""
    from chexalign.policy.families import family_of

    vlm, rng, g = FAMILIES[name], random.Random(seed), torch.Generator().manual_seed(seed)
    family = family_of(model)
    found, vision = [], []
    for row in range(rows):
        images = [vlm.image(g) for _ in range(n_images)]
        prompt = [1]
        for image in images:
            prompt += [*vlm.span(image), *rng.choices(WORDS, k=rng.randint(1, 2))]
        prompt += rng.choices(WORDS, k=rng.randint(1, 6))
        completions = tuple((*rng.choices(WORDS, k=rng.randint(0, 9)), EOS) for _ in range(branches))
        found.append(Example(f"row-{row}", tuple(prompt), completions, tuple(f"{row}-{i}" for i in range(n_images))))
        vision.append(_row(name, images))
    return found, family.collate_images(vision)


def _row(name: str, images: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The image inputs of one example: Idefics3 and SmolVLM count its images in the second dimension."""
    dim = 1 if name in ("idefics3", "smolvlm") else 0
    return {key: torch.cat([image[key] for image in images], dim=dim) for key in images[0]} if images else {}
