"""What each family makes of images, prompts and packed rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from chexalign.errors import UserError
from chexalign.policy.families import family_of, unwrap
from chexalign.train.pack import Example, pack
from chexalign.train.prefix import disagreement, separate_logps, shared_logps
from tests import vlms

AROUND, GLOBAL = "<fake_token_around_image>", "<global-img>"
TILE_TOKENS = [f"<row_{r}_col_{c}>" for r in range(1, 3) for c in range(1, 4)]
SPECIAL = {"<image>": vlms.IMAGE, "<start>": vlms.START, "<end>": vlms.END, AROUND: vlms.EXTRA, GLOBAL: 94, "\n": 93}
SPECIAL |= {token: 80 + i for i, token in enumerate(TILE_TOKENS)}


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng([seed, width, height])
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))


def image_processor(name: str) -> Any:
    import transformers

    square = {"height": 16, "width": 16}
    tiles = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}}
    kind, options = {
        "llava_llama": ("CLIP", {"size": {"shortest_edge": 8}, "crop_size": {"height": 8, "width": 8}}),
        "qwen2_vl": ("Qwen2VL", {"patch_size": 4, "min_pixels": 64, "max_pixels": 1024}),
        "qwen2_5_vl": ("Qwen2VL", {"patch_size": 4, "min_pixels": 64, "max_pixels": 1024}),
        "qwen3_vl": ("Qwen2VL", {"patch_size": 4, "min_pixels": 64, "max_pixels": 1024}),
        "gemma3": ("Gemma3", {"size": square}),
        "paligemma": ("Siglip", {"size": {"height": 8, "width": 8}}),
        "idefics3": ("Idefics3", tiles),
        "smolvlm": ("SmolVLM", tiles),
        "internvl": ("GotOcr2", {"size": square, "min_patches": 1, "max_patches": 4}),
    }[name]
    return getattr(transformers, f"{kind}ImageProcessor")(**options)


def tokenizer() -> Any:
    """One token per word; the special tokens have the ids that the tiny models' configs name."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "what": 4, "is": 5, "seen": 6} | SPECIAL
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.add_special_tokens(list(SPECIAL))
    named = {"start_image_token": "<start>", "end_image_token": "<end>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>", **named
    )


ALL_WITH_IMAGES = ["llava_llama", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "gemma3", "paligemma"]
ALL_WITH_IMAGES += ["idefics3", "smolvlm", "internvl"]


@pytest.mark.parametrize("name", ALL_WITH_IMAGES)
def test_image_inputs_are_what_the_forward_takes_and_join_to_those_of_the_batch(name: str) -> None:
    family, processor = family_of(vlms.make(name)), image_processor(name)
    one = family.image_inputs(processor, [picture(40, 30)])
    two = family.image_inputs(processor, [picture(16, 16), picture(20, 60)])
    batch = family.collate_images([one, two])
    assert set(batch) <= family.accepts
    assert "pixel_values" in batch
    per_example = name in ("idefics3", "smolvlm")
    assert len(batch["pixel_values"]) == (2 if per_example else len(one["pixel_values"]) + len(two["pixel_values"]))


@pytest.mark.parametrize("name", ALL_WITH_IMAGES)
def test_a_batch_without_images_has_no_image_inputs(name: str) -> None:
    family = family_of(vlms.make(name))
    assert family.image_inputs(image_processor(name), []) == {}
    assert family.collate_images([{}, {}]) == {}


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics3", "smolvlm", "internvl"])
def test_expanded_prompts_and_image_files_go_through_the_model(name: str) -> None:
    """As many image tokens as image features, or the model refuses; rows with two, no and one image in one batch."""
    model, processor = vlms.make(name), image_processor(name)
    family, words = family_of(model), tokenizer()
    assert family.expands
    image = "<start><image><end>"  # Qwen's templates put the tokens of an image between two others
    texts = [f"<s>what {image} {image} is seen", "<s>what", f"<s>{image} is"]
    sets = [[picture(40, 30), picture(16, 16)], [], [picture(20, 60)]]
    images = [family.image_inputs(processor, pictures) for pictures in sets]
    prompts = [family.expand(words, text, found) for text, found in zip(texts, images, strict=True)]
    examples = [Example(str(i), prompt, ((7, 8, 2), (9, 2)), ()) for i, prompt in enumerate(prompts)]
    vision, batch = family.collate_images(images), pack(examples, pad_id=0)
    shared = shared_logps(model, batch, vision)
    assert disagreement(shared, separate_logps(model, batch, vision)) < 1e-5
    alone = shared_logps(model, pack(examples[2:], pad_id=0), family.collate_images(images[2:]))
    torch.testing.assert_close(alone.sums()[0], shared.sums()[2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(40, 30), (16, 16)])
@pytest.mark.parametrize("split", [True, False])
def test_expansion_and_images_are_those_of_the_joint_processor_of_idefics3(size: tuple[int, int], split: bool) -> None:
    from transformers import Idefics3Processor

    images = image_processor("idefics3")
    images.do_image_splitting = split
    words = tokenizer()
    joint = Idefics3Processor(images, words, image_seq_len=4)
    pictures, text = [picture(*size), picture(*size, seed=1)], "<s>what <image> is <image> seen"
    expected = joint(text=[text], images=[pictures], add_special_tokens=False, return_tensors="pt")
    family = family_of(vlms.make("idefics3"))
    found = family.image_inputs(joint, pictures)
    assert family.expand(words, text, found) == tuple(expected["input_ids"][0].tolist())
    torch.testing.assert_close(family.collate_images([found])["pixel_values"], expected["pixel_values"])


def test_expansion_of_internvl_by_hand() -> None:
    family, words = family_of(vlms.make("internvl")), tokenizer()
    images = {"pixel_values": torch.zeros(3, 3, 16, 16), "num_patches": torch.tensor([1, 2])}
    found = family.expand(words, "<s>what <image> <image>", images)
    first = [vlms.START, *[vlms.IMAGE] * 4, vlms.END]
    assert found == (1, 4, *first, vlms.START, *[vlms.IMAGE] * 8, vlms.END)


def test_expansion_of_qwen_by_hand() -> None:
    family, words = family_of(vlms.make("qwen2_vl")), tokenizer()
    images = {"pixel_values": torch.zeros(32, 96), "image_grid_thw": torch.tensor([[1, 4, 2], [1, 4, 6]])}
    found = family.expand(words, "<image> is <image>", images)
    assert found == (*[vlms.IMAGE] * 2, 5, *[vlms.IMAGE] * 6)


@pytest.mark.parametrize("text", ["edema", "edema <image> <image> <image>"])
def test_a_prompt_with_other_images_than_the_study_is_refused_without_its_text(text: str) -> None:
    family = family_of(vlms.make("qwen2_vl"))
    images = {"pixel_values": torch.zeros(8, 96), "image_grid_thw": torch.tensor([[1, 4, 2]])}
    with pytest.raises(UserError, match="image tokens and 1 images") as refused:
        family.expand(tokenizer(), text, images)
    assert "edema" not in str(refused.value)


def test_families_with_a_usable_joint_processor_do_not_expand() -> None:
    family = family_of(vlms.make("llava_llama"))
    assert not family.expands
    with pytest.raises(NotImplementedError, match="llava"):
        family.expand(tokenizer(), "<image>", {"pixel_values": torch.zeros(1, 3, 8, 8)})


def test_options_of_the_joint_processor_reach_the_image_processor() -> None:
    from transformers import CLIPImageProcessor

    images = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    joint = SimpleNamespace(image_processor=images, images_kwargs={"do_rescale": False})
    found = family_of(vlms.make("llava_llama")).image_inputs(joint, [picture(8, 8)])["pixel_values"]
    assert found.max() > 100


def test_pixels_of_other_sizes_are_filled_with_zeros() -> None:
    family = family_of(vlms.make("llava_llama"))
    rows = [{"pixel_values": torch.ones(1, 3, 2, 4)}, {"pixel_values": torch.ones(2, 3, 3, 2)}]
    found = family.collate_images(rows)["pixel_values"]
    assert found.shape == (3, 3, 3, 4)
    assert found.sum() == sum(row["pixel_values"].sum() for row in rows)
    assert found[0, 0].tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]


# Masks and positions by hand.


def test_prompts_of_paligemma_are_seen_both_ways_and_positions_count_from_one() -> None:
    model = vlms.make("paligemma")
    batch = pack([Example("a", (1, 5), ((6, 2), (2,)), ())], pad_id=0)
    inputs = family_of(model).inputs(model, batch, {})
    rows = ["11000", "11000", "11100", "11110", "11001"]
    assert inputs["attention_mask"][0, 0].int().tolist() == [[int(c) for c in row] for row in rows]
    assert inputs["position_ids"].tolist() == [[1, 2, 3, 4, 3]]


def test_images_of_gemma3_are_seen_both_ways_each_on_its_own_and_windows_go_by_position() -> None:
    model = vlms.make("gemma3")
    model.config.text_config.sliding_window = 3
    image = vlms.IMAGE
    batch = pack([Example("a", (image, image, 5, image, image), ((6, 2), (7,)), ())], pad_id=0)
    masks = family_of(model).inputs(model, batch, {})["attention_mask"]
    full = ["11000000", "11000000", "11100000", "11111000", "11111000", "11111100", "11111110", "11111001"]
    near = ["11000000", "11000000", "11100000", "01111000", "00111000", "00011100", "00001110", "00011001"]
    assert masks["full_attention"][0, 0].int().tolist() == [[int(c) for c in row] for row in full]
    assert masks["sliding_attention"][0, 0].int().tolist() == [[int(c) for c in row] for row in near]


def test_completions_of_qwen_go_on_after_the_largest_position_of_the_prompt() -> None:
    model = vlms.make("qwen2_vl")
    image = vlms.IMAGE
    vision = {"image_grid_thw": torch.tensor([[1, 2, 6]])}  # one row of three tokens
    examples = [Example("a", (1, image, image, image, 5), ((6, 2), (7,)), ()), Example("b", (1, 5), ((2,), (7, 2)), ())]
    batch = pack(examples, pad_id=0)
    found = family_of(model).inputs(model, batch, vision)["position_ids"]
    assert found[0].tolist() == [[0, 1, 1, 1, 4, 5, 6, 5, 0], [0, 0, 0, 0, 1, 2, 0, 2, 3]]
    assert found[1].tolist() == [[0, 1, 1, 1, 4, 5, 6, 5, 0], [0, 0, 0, 0, 1, 2, 0, 2, 3]]
    assert found[2].tolist() == [[0, 1, 2, 3, 4, 5, 6, 5, 0], [0, 0, 0, 0, 1, 2, 0, 2, 3]]


# What is refused, and what is unknown.


def test_paligemma2_refuses_an_example_longer_than_its_window() -> None:
    model = vlms.make("paligemma2", "eager")
    batch = pack([Example("a", tuple([5] * 60), ((6, 7, 8, 9, 2),), ())], pad_id=0)
    with pytest.raises(UserError, match="65 tokens, and this PaliGemma has a window of 64"):
        shared_logps(model, batch, {})


@pytest.mark.parametrize("attention", ["flash_attention_2", "flash_attention_3", "flex_attention"])
def test_attention_that_takes_no_mask_is_refused_with_a_reason(attention: str) -> None:
    model = vlms.make("llava_llama")
    model.config.text_config._attn_implementation = attention
    assert not family_of(model).supports_sharing
    assert attention in str(family_of(model).reason)


def test_a_forward_without_positions_is_refused_with_a_reason() -> None:
    class Older(type(vlms.make("llava_llama"))):  # type: ignore[misc]
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> Any:
            raise AssertionError

    model = Older(vlms.FAMILIES["llava_llama"].config())
    assert "position_ids" in str(family_of(model).reason)


def test_layers_that_carry_a_state_are_refused_with_a_reason() -> None:
    model = vlms.make("internvl")
    model.config.text_config.layer_types = ["linear_attention", "full_attention"]
    assert not family_of(model).supports_sharing
    assert "linear_attention" in str(family_of(model).reason)


def test_an_unknown_model_type_is_taken_for_plainly_causal() -> None:
    model = vlms.make("llava_llama")
    model.config.model_type = "never_heard_of"
    assert type(family_of(model)).__name__ == "Family"
    assert family_of(model).supports_sharing


def test_wrappers_are_looked_through() -> None:
    peft = pytest.importorskip("peft")
    model = vlms.make("qwen2_vl")
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"]))
    wrapped = torch.nn.Module()
    wrapped.module = adapted
    assert unwrap(wrapped) is unwrap(adapted) is unwrap(model) is model
    assert type(family_of(wrapped)).__name__ == "MRope"
