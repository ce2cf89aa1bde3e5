"""The tiny policy: a Llava model of 2.3 million parameters, with a tokenizer of its own.

It is an ordinary transformers checkpoint: `AutoModelForImageTextToText` and `AutoProcessor` load it. The vision tower
is a LeViT, since its convolutional stem learns small structures (granulomas, wires, spurs) in minutes on a CPU, which
a plain patch transformer of that size does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import (
        LevitConfig,
        LevitModel,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

IMAGE_SIZE_PX = 128
IMAGE_TOKENS = 16
_TOKEN_GRID_PX = 32  # one image token stands for 32 x 32 pixels
VOCABULARY = 2000
_THRESHOLD, _NOISE, _PASS_ON = 0.5, 0.3, 2 / 9
PAD, BOS, EOS, IMAGE, ASK = "<pad>", "<s>", "</s>", "<image>", "<ask>"
# The user's turn is the images and the text; generation starts after <ask>.
CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
    "{% if message['role'] == 'user' %}{{ '<ask>' }}{% else %}{{ '</s>' }}{% endif %}"
    "{% endfor %}"
)


def train_tokenizer(texts: Iterable[str], *, vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of the texts, with the special tokens of the tiny policy first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BOS, EOS, IMAGE, ASK],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=[IMAGE, ASK],
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """A Llava processor around the tokenizer: 128 px, no crop, pixel values in [-1, 1]."""
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    size = {"height": IMAGE_SIZE_PX, "width": IMAGE_SIZE_PX}
    image_processor = CLIPImageProcessorPil(
        size=size, do_center_crop=False, do_resize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=_TOKEN_GRID_PX,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE,
        num_additional_image_tokens=0,
    )


def tower_config() -> LevitConfig:
    """A LeViT of 0.57 million parameters that turns 128 x 128 pixels into 4 x 4 tokens."""
    from transformers import LevitConfig

    more: dict[str, Any] = {
        "down_ops": [["Subsample", 16, 4, 4, 2, 2], [""]],  # 8 x 8 tokens to 4 x 4, then no more
        "hidden_size": 128,  # what the Llava projector reads
    }
    return LevitConfig(
        image_size=IMAGE_SIZE_PX,
        hidden_sizes=[64, 128],
        num_attention_heads=[4, 8],
        key_dim=[16, 16],
        depths=[2, 2],
        mlp_ratio=[2, 2],
        attention_ratio=[2, 2],
        **more,
    )


def build_tower() -> LevitModel:
    """A tower whose first layers start as edge and spot detectors, weights otherwise from torch's generator.

    Spots and thin lines are what a few thousand steps from random filters do not find: with this start the mean AUC
    over labels after the same training was higher.
    """
    import torch
    from transformers import LevitModel

    tower = LevitModel(tower_config())
    stem = tower.patch_embeddings
    first, *others = (getattr(stem, f"embedding_layer_{i}") for i in (1, 2, 3, 4))
    with torch.no_grad():
        first.convolution.weight.copy_(_detectors()[:, None].expand(-1, 3, -1, -1) / 3)
        first.batch_norm.bias[1:] = -_THRESHOLD  # what stands out from the noise passes, in units of its deviation
        for layer in others:  # pass each channel on, summed over the neighborhood
            weight = layer.convolution.weight
            weight *= _NOISE
            for channel in range(weight.shape[1]):
                weight[channel, channel] += _PASS_ON
    return tower


def _detectors() -> torch.Tensor:
    """Eight 3 x 3 filters: mean, bright spot, dark spot, and five directions of edges."""
    import torch

    mean = torch.full((3, 3), 1 / 9)
    spot = torch.full((3, 3), -1 / 8)
    spot[1, 1] = 1.0
    edge = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    diagonal = torch.tensor([[0.0, 1.0, 2.0], [-1.0, 0.0, 1.0], [-2.0, -1.0, 0.0]]) / 8
    return torch.stack([mean, spot, -spot, edge, -edge, edge.T, -edge.T, diagonal])


def build_model(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> LlavaForConditionalGeneration:
    """A freshly initialized tiny policy whose weights follow from the seed."""
    import torch
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = LlavaConfig(
        vision_config=tower_config(),
        text_config=text,
        image_token_index=tokenizer.get_vocab()[IMAGE],
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    generation = model.generation_config
    generation.pad_token_id, generation.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    generation.bos_token_id = tokenizer.bos_token_id
    return model.eval()
