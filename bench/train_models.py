"""Random models and pairs for bench/train.py: what they cost depends on their shapes, not on what they say."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image


@dataclass(frozen=True)
class Shape:
    """A Llava by its numbers."""

    name: str
    hidden: int
    layers: int
    intermediate: int
    heads: int
    vocabulary: int
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    image_px: int
    patch_px: int
    dtype: str = "float32"

    @property
    def image_tokens(self) -> int:
        return (self.image_px // self.patch_px) ** 2


# 25.7 M decoder parameters, 10.6 M in the tower, 576 tokens per image.
TOY = Shape("toy", 512, 8, 1408, 8, 8192, 384, 6, 6, 384, 16)
# The shape of CheXagent-2: 2.5 B decoder, 0.3 B tower, 1024 tokens per image.
CHEXAGENT2 = Shape("chexagent2", 2560, 32, 10240, 32, 51200, 1024, 24, 16, 512, 16, "bfloat16")
# For an accelerator with less memory: full fine-tuning of the shape above needs about 50 GB.
HALF = Shape("half", 2048, 16, 5632, 16, 51200, 1024, 24, 16, 512, 16, "bfloat16")
SHAPES = {shape.name: shape for shape in (TOY, CHEXAGENT2, HALF)}


def make_processor(shape: Shape) -> Any:
    """A Llava processor over a vocabulary of numbered words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlavaProcessor, PreTrainedTokenizerFast
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    special = ["<pad>", "<s>", "</s>", "<unk>", "<image>"]
    words = special + [f"w{i}" for i in range(shape.vocabulary - len(special))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
        padding_side="left",
    )
    images = SiglipImageProcessorPil(size={"height": shape.image_px, "width": shape.image_px})
    return LlavaProcessor(
        images,
        fast,
        patch_size=shape.patch_px,
        vision_feature_select_strategy="full",
        image_token="<image>",
        num_additional_image_tokens=0,
    )


def make_model(shape: Shape, *, device: str, seed: int = 0) -> Any:
    """A Llava with random weights and a frozen tower."""
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    vision = SiglipVisionConfig(
        hidden_size=shape.vision_hidden,
        intermediate_size=4 * shape.vision_hidden,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        image_size=shape.image_px,
        patch_size=shape.patch_px,
        vision_use_head=False,
    )
    text = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=4,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
    )
    torch.manual_seed(seed)
    with torch.device(device):
        model = LlavaForConditionalGeneration(config).to(getattr(torch, shape.dtype))
    model.config._name_or_path = shape.name
    for parameter in model.model.vision_tower.parameters():
        parameter.requires_grad_(False)
    return model


def make_pairs(
    n: int, *, shape: Shape, images: int, text: int, completion: tuple[int, int], seed: int
) -> list[dict[str, Any]]:
    """Pairs of random words about random images, as TRL's datasets spell them."""
    rng, pixels = random.Random(seed), np.random.default_rng(seed)

    def words(count: int) -> str:
        return " ".join(f"w{rng.randrange(shape.vocabulary - 5)}" for _ in range(count))

    def answer() -> str:
        return f" {words(rng.randint(*completion) - 1)} </s>"

    return [
        {
            "images": [Image.fromarray(pixels.integers(0, 255, (64, 64, 3), dtype=np.uint8)) for _ in range(images)],
            "prompt": " ".join(["<image>"] * images + [words(text)]),
            "chosen": answer(),
            "rejected": answer(),
        }
        for _ in range(n)
    ]
