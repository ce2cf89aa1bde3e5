"""CheXagent-2 by its published layout: names, shapes, the forward, what is read, what is written, what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from chexalign.errors import UserError
from chexalign.policy.base import Ask, AskError, Decoding
from chexalign.policy.chexagent2_config import CheXagentConfig
from chexalign.policy.chexagent2_confirm import confirm
from chexalign.policy.chexagent2_files import check_weights, is_chexagent2, model_shapes, tensor_shapes
from chexalign.policy.chexagent2_model import CheXagentForCausalLM, float32_attention
from chexalign.policy.chexagent2_tokenizer import load_tokenizer
from chexalign.policy.chexagent2_visual import sincos_table
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.policy.native import load_config
from chexalign.recipe import LoraSpec
from chexalign.train import lora
from chexalign.train.examples import Target, encode
from chexalign.train.freeze import freeze, part_of
from chexalign.train.pack import pack
from chexalign.train.prefix import disagreement, separate_logps, shared_logps
from tests import chexagent2 as cx
from tests import fits, vlms

MARKS = ["<|img|>", "<|/img|>", "<|imgpad|>", "<|ref|>", "<|/ref|>", "<|box|>", "<|/box|>", "<|quad|>", "<|/quad|>"]
BASE = 266  # tokens of the tiny vocabulary, the end token last


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cx.write(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def policy(published: Path) -> HFPolicy:
    return HFPolicy(published)


@pytest.fixture(scope="module")
def asks(tmp_path_factory: pytest.TempPathFactory) -> list[Ask]:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(3)
    paths = [folder / f"{i}.png" for i in range(3)]
    for path, (height, width) in zip(paths, [(20, 31), (16, 16), (40, 12)], strict=True):
        Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)).save(path)
    return [Ask("Describe the lungs.", tuple(paths[:2])), Ask("What is new?", (paths[2],)), Ask("Say hello.", ())]


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy that the test may damage."""
    return Path(shutil.copytree(published, tmp_path / "copy"))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# The layout -------------------------------------------------------------------------------------------------------


def test_the_published_shape_has_the_published_number_of_parameters() -> None:
    found = model_shapes(CheXagentConfig())
    assert found == cx.shapes(cx.PUBLISHED)
    assert sum(int(np.prod(shape)) for shape in found.values()) == cx.PUBLISHED_PARAMETERS


def test_an_image_takes_1024_tokens() -> None:
    assert CheXagentConfig().image_seq_length == 1024


@pytest.mark.parametrize(("width", "side"), [(8, 4), (32, 3)])
def test_the_table_of_positions(width: int, side: int) -> None:
    expected = cx.position_table(cx.Sizes(0, 0, 0, 0, width, 0, 0, side, 0))
    torch.testing.assert_close(sincos_table(width, side), expected, rtol=0, atol=1e-6)


def test_a_model_from_its_config_alone_has_the_table_and_finite_weights() -> None:
    model = CheXagentForCausalLM(vlms.FAMILIES["chexagent2"].config())
    torch.testing.assert_close(model.model.visual.pos_embed, sincos_table(16, 2))
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    assert model.lm_head.weight is not model.model.embed_tokens.weight


# The forward ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_logits_are_those_of_the_forward_written_out(published: Path, asks: list[Ask], attention: str) -> None:
    """Two images, one, and none; left-padded in one batch, against each sequence alone."""
    policy = HFPolicy(published)
    policy.model.set_attn_implementation(attention)
    inputs, weights = policy.encode(asks), cx.random_weights(cx.TINY)
    mask, images = inputs["attention_mask"], list(inputs["pixel_values"])
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    found = policy.model(**inputs, position_ids=positions).logits
    for row, ask in enumerate(asks):
        own = [images.pop(0) for _ in ask.images]
        ids = inputs["input_ids"][row][mask[row].bool()]
        expected = cx.logits(weights, cx.TINY, ids, own, policy.model.config.image_token_id)
        torch.testing.assert_close(found[row][mask[row].bool()], expected, rtol=1e-5, atol=1e-5)
        assert expected.std() > 0.5, "logits hardly vary: the test proves little"


@pytest.mark.slow
@torch.no_grad()
def test_so_they_are_at_the_published_widths() -> None:
    """Heads of 80 numbers of which 32 turn, 1,024 tokens per image of 512 pixels; one layer of each, few words."""
    sizes = cx.Sizes(640, 2560, 1, 32, 1024, 1, 16, 32, 16)
    weights = cx.random_weights(sizes, scale=0.03)
    tower = {"num_hidden_layers": 1, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
    config = CheXagentConfig(
        vocab_size=640,
        num_hidden_layers=1,
        image_token_id=639,
        partial_rotary_factor=cx.ROTARY,
        vision_config={**tower, "image_size": 512, "patch_size": 16},
    )
    with torch.device("meta"):
        model = CheXagentForCausalLM(config)
    model = model.to_empty(device="cpu").eval()
    model.load_state_dict(weights)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    model.model.visual.model.embeddings.position_ids.copy_(torch.arange(1024)[None])
    ids = torch.tensor([5, 6, *[639] * 1024, 7, 8, *[639] * 1024, 9, 10])
    images = torch.rand(2, 3, 512, 512, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = model(input_ids=ids[None], pixel_values=images, logits_to_keep=3).logits[0]
    expected = cx.logits(weights, sizes, ids, list(images), 639)[-3:]
    assert expected.std() > 0.5
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


UNUSED = ("visual.model.post_layernorm", "visual.model.head.")


def test_every_weight_but_those_of_the_pooling_head_matters(asks: list[Ask], policy: HFPolicy) -> None:
    model = policy.model
    freeze(model, [])
    logps = model(**policy.encode(asks)).logits.log_softmax(-1)
    logps[..., ::3].sum().backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None}
    model.zero_grad(set_to_none=True)
    assert idle == {name for name in idle if any(piece in name for piece in UNUSED)}
    assert len(idle) == 13


def test_ids_where_features_go_do_not_reach_the_decoder(asks: list[Ask], policy: HFPolicy) -> None:
    inputs = policy.encode(asks[:1])
    before = policy.model(**inputs).logits
    rows = policy.model.model.embed_tokens.weight.data
    kept = rows[policy.model.config.image_token_id].clone()
    rows[policy.model.config.image_token_id] = 100.0
    after = policy.model(**inputs).logits
    rows[policy.model.config.image_token_id] = kept
    assert torch.equal(before, after)


def test_more_image_tokens_than_features_are_refused(asks: list[Ask], policy: HFPolicy) -> None:
    inputs = policy.encode(asks[:1])
    with pytest.raises(UserError, match="32 image tokens for 1 images of 16 tokens"):
        policy.model(**inputs | {"pixel_values": inputs["pixel_values"][:1]})


# Precision --------------------------------------------------------------------------------------------------------


def large_scores() -> tuple[Any, ...]:
    """An attention module, and queries, keys and values in bfloat16 whose scores are large, as Phi-2's are."""
    module = fits.model_of("chexagent2").model.layers[0].self_attn
    g = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 4, 64, 8, generator=g) * scale for scale in (10.0, 10.0, 1.0))
    return module, query.bfloat16(), key.bfloat16(), value.bfloat16()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_scores_in_bfloat16_are_those_of_float32(attention: str) -> None:
    """Phi's own eager attention rounds them, and is several times as far off."""
    from transformers import AttentionInterface
    from transformers.models.phi.modeling_phi import eager_attention_forward

    module, *inputs = large_scores()
    ours = AttentionInterface().get_interface(attention, float32_attention)
    truth = torch.nn.functional.scaled_dot_product_attention(*(x.double() for x in inputs), scale=0.35)

    def error(attend: Any) -> float:
        found, _ = attend(module, *inputs, None, scaling=0.35, is_causal=False)
        return float((found.transpose(1, 2).double() - truth).abs().mean())

    assert error(eager_attention_forward) > 5 * error(ours)


def test_scores_stay_float32_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = fits.model_of("chexagent2", "eager"), []
    softmax = torch.nn.functional.softmax

    def looking(scores: torch.Tensor, **options: Any) -> torch.Tensor:
        seen.append((scores.dtype, torch.equal(scores, scores.bfloat16().float())))
        return softmax(scores, **options)

    monkeypatch.setattr(torch.nn.functional, "softmax", looking)
    with torch.autocast("cpu", torch.bfloat16):
        model(input_ids=torch.tensor([[5, 6, 7, 8]]))
    assert seen == [(torch.float32, False)] * 2


@pytest.mark.parametrize("by", ["weights", "autocast"])
def test_float16_is_refused(by: str) -> None:
    model = fits.model_of("chexagent2")
    ids = torch.tensor([[5, 6]])
    model = model.half() if by == "weights" else model
    with torch.autocast("cpu", torch.float16, enabled=by == "autocast"), pytest.raises(UserError, match="float16"):
        model(input_ids=ids)


@torch.no_grad()
def test_bfloat16_stays_near_float32(published: Path, asks: list[Ask], policy: HFPolicy) -> None:
    inputs = policy.encode(asks)
    halved = CheXagentForCausalLM.from_pretrained(published, dtype=torch.bfloat16)
    found, truth = halved(**inputs).logits.float(), policy.model(**inputs).logits
    assert float((found - truth).norm() / truth.norm()) < 0.03


# Reading a folder -------------------------------------------------------------------------------------------------


def test_a_published_folder_is_read_without_its_code(policy: HFPolicy) -> None:
    """`modeling_chexagent.py` in the folder raises when it is imported; config.json names another end token."""
    config = policy.model.config
    assert config.rope_parameters["partial_rotary_factor"] == cx.ROTARY
    assert config.eos_token_id == policy.tokenizer.eos_token_id == BASE - 1
    assert config.image_token_id == BASE + 2
    assert not hasattr(config, "auto_map")
    weights = cx.random_weights(cx.TINY)
    assert fits.equal(policy.model.state_dict(), {name: weights[name] for name in policy.model.state_dict()})


def test_auto_classes_read_it_once_the_door_was_opened(published: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    config = load_config(published)
    assert type(AutoConfig.from_pretrained(published)) is type(CheXagentConfig.from_pretrained(published))
    assert CheXagentConfig.from_pretrained(published).to_diff_dict() == config.to_diff_dict()
    for auto in (AutoModelForImageTextToText, AutoModelForCausalLM):
        assert type(auto.from_pretrained(published)) is CheXagentForCausalLM


def test_what_the_configuration_leaves_out_is_that_of_the_published_model(tmp_path: Path) -> None:
    cx.write_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "chexagent", "visual": {"image_size": 512}}))
    config = CheXagentConfig.from_pretrained(tmp_path)
    assert model_shapes(config) == cx.shapes(cx.PUBLISHED)
    assert (config.rope_parameters["partial_rotary_factor"], config.rope_parameters["rope_theta"]) == (0.4, 10000.0)
    assert (config.layer_norm_eps, config.hidden_act, config.vision_config.layer_norm_eps) == (1e-5, "gelu_new", 1e-6)


def test_the_older_model_of_the_same_type_is_refused(folder: Path) -> None:
    change(folder / "config.json", qformer_config={})
    assert not is_chexagent2(folder)
    with pytest.raises(UserError, match="CheXagent-8B"):
        CheXagentConfig.from_pretrained(folder)


def test_missing_weights_are_never_drawn_at_random(folder: Path) -> None:
    weights = cx.random_weights(cx.TINY)
    gone = ["lm_head.bias", *(name for name in weights if ".attn_pool." in name)]
    cx.write_weights(folder, {name: t for name, t in weights.items() if name not in gone})
    with pytest.raises(UserError, match=r"missing: lm_head.bias, model.visual.attn_pool.0.bias, .* and 2 others"):
        HFPolicy(folder)


def test_weights_of_another_shape_or_name_are_named(folder: Path) -> None:
    weights = cx.random_weights(cx.TINY)
    weights["more"] = torch.zeros(1)
    weights["model.visual.proj"] = torch.zeros(3, 3)
    cx.write_weights(folder, weights)
    with pytest.raises(UserError, match=r"unknown: more; of another shape: model\.visual\.proj"):
        HFPolicy(folder)


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_shard_that_is_missing_or_cut_is_named(damage: str, folder: Path) -> None:
    shard = folder / "model-00002-of-00003.safetensors"
    shard.unlink() if damage == "gone" else shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(UserError, match=r"model-00002-of-00003\.safetensors is missing or cut short"):
        HFPolicy(folder)


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "merges.txt").unlink()
    with pytest.raises(UserError, match=r"lacks processor_config\.json"):
        HFPolicy(folder)


# The tokenizer ----------------------------------------------------------------------------------------------------


def test_added_tokens_follow_the_vocabulary_in_their_order(policy: HFPolicy) -> None:
    names = [*MARKS, *(f"<|coord_{i}|>" for i in range(10))]
    assert policy.tokenizer.convert_tokens_to_ids(names) == list(range(BASE, BASE + len(names)))
    extra = [f"<|extra_{i}|>" for i in range(320 - BASE - len(names))]
    assert policy.tokenizer.convert_tokens_to_ids(extra) == list(range(BASE + len(names), 320))
    assert len(policy.tokenizer) == 320  # the next multiple of 64


def test_a_vocabulary_that_is_a_multiple_already_gets_no_extra_tokens(folder: Path) -> None:
    vocabulary = json.loads((folder / "vocab.json").read_text())
    vocabulary |= {f"word{i}": len(vocabulary) + i for i in range(320 - 19 - BASE)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    known = load_tokenizer(folder).get_vocab()
    assert len(known) == 320
    assert not [token for token in known if token.startswith("<|extra_")]


def test_ids_that_the_files_name_count(folder: Path) -> None:
    """Phi-2's own tokenizer has added tokens before them: runs of spaces, which stay allowed."""
    entries = {BASE: ("  ", False), BASE + 1: ("<|user|>", True), BASE + 2: ("<|img|>", True)}
    decoder = {str(i): {"content": token, "special": special} for i, (token, special) in entries.items()}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": decoder, "add_bos_token": True, "tokenizer_class": "CheXagentTokenizer"})
    )
    policy = HFPolicy(folder)
    names = ["  ", "<|user|>", "<|img|>", "<|/img|>", "<|imgpad|>"]
    assert policy.tokenizer.convert_tokens_to_ids(names) == list(range(BASE, BASE + 5))
    assert policy.model.config.image_token_id == BASE + 4
    assert {BASE, BASE + 1}.isdisjoint(policy.banned)
    assert {BASE + 2, BASE + 3, BASE + 4} <= set(policy.banned)
    assert policy.tokenizer("hello")["input_ids"] == policy.tokenizer("hello", add_special_tokens=False)["input_ids"]


def test_ids_that_cannot_be_are_refused(folder: Path) -> None:
    (folder / "added_tokens.json").write_text(json.dumps({"<|img|>": BASE + 7}))
    with pytest.raises(UserError, match=r"gives <\|img\|> the id 273, where the vocabulary leaves 266"):
        load_tokenizer(folder)


def test_text_becomes_the_tokens_of_byte_level_bpe(published: Path, policy: HFPolicy) -> None:
    from transformers import GPT2Tokenizer

    plain = GPT2Tokenizer(vocab=str(published / "vocab.json"), merges=str(published / "merges.txt"))
    for text in ("the lungs, the CXR's  edges\n\nare 12 cm", "é – 心", " the the"):
        assert policy.tokenizer(text)["input_ids"] == plain(text)["input_ids"]
        assert policy.tokenizer.decode(policy.tokenizer(text)["input_ids"]) == text


# Prompts ----------------------------------------------------------------------------------------------------------


def test_a_prompt_as_the_published_code_writes_it(policy: HFPolicy, asks: list[Ask]) -> None:
    expected = (
        "<|system|>\nYou are a helpful assistant.<|endoftext|>\n"
        "<|user|>\nPicture 1:<|img|><|imgpad|><|/img|>\nPicture 2:<|img|><|imgpad|><|/img|>\n"
        "Describe the lungs.<|endoftext|>\n<|assistant|>\n"
    )
    assert policy.render(asks[0]) == expected
    ids = policy.encode(asks[:1])["input_ids"][0].tolist()
    span = [policy.model.config.image_token_id] * 16
    start, end = policy.tokenizer.convert_tokens_to_ids(["<|img|>", "<|/img|>"])
    pieces = expected.replace("<|img|><|imgpad|><|/img|>", "§").split("§")
    plain = [policy.tokenizer(piece)["input_ids"] for piece in pieces]
    assert ids == [*plain[0], start, *span, end, *plain[1], start, *span, end, *plain[2]]
    assert ids[0] != policy.tokenizer.bos_token_id  # nothing before the first tag


def test_a_conversation_with_a_system_text_and_an_answer(policy: HFPolicy) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello."}]},
        {"role": "assistant", "content": "Good day."},
    ]
    found = policy.processor.apply_chat_template(messages, add_generation_prompt=False)
    assert found == (
        "<|system|>\nBe brief.<|endoftext|>\n<|user|>\nHello.<|endoftext|>\n<|assistant|>\nGood day.<|endoftext|>\n"
    )


def test_an_answer_in_training_ends_as_generation_does(policy: HFPolicy, asks: list[Ask]) -> None:
    (example,) = encode(policy, [Target("a", asks[0], ("Clear lungs.",))])
    assert policy.tokenizer.decode(example.completions[0]) == "Clear lungs.<|endoftext|>"
    assert example.prompt_ids == tuple(policy.encode(asks[:1])["input_ids"][0].tolist())


def test_images_are_resized_to_a_square_and_scaled(policy: HFPolicy, asks: list[Ask]) -> None:
    found = policy.encode(asks)["pixel_values"]
    assert found.shape == (3, 3, 16, 16)
    with Image.open(asks[1].images[0]) as image:
        square = image.convert("RGB").resize((16, 16), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1) / 255 * 2 - 1
    torch.testing.assert_close(found[2], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mark", ["<|img|>", "<|/img|>", "<|imgpad|>"])
def test_a_prompt_with_an_image_mark_of_its_own_is_refused_without_its_text(
    mark: str, policy: HFPolicy, asks: list[Ask]
) -> None:
    with pytest.raises(UserError, match="in its own words") as refused:
        policy.encode([Ask(f"secret {mark}", asks[0].images)])
    assert "secret" not in str(refused.value)


def test_more_images_than_the_context_holds_are_refused(policy: HFPolicy, asks: list[Ask]) -> None:
    """config.json names 64 positions, which one image fills; CheXalign's own limit counts."""
    ask = Ask("What is seen?", asks[0].images * 100)
    with pytest.raises(AskError, match="context"):
        policy.generate([ask], decoding=Decoding(8), seeds=[[0]])
    assert policy.generate([Ask("What?", asks[0].images * 4)], decoding=Decoding(2), seeds=[[0]])


# Writing ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tempted(published: Path, tmp_path_factory: pytest.TempPathFactory) -> HFPolicy:
    """A policy whose most probable tokens are all of those that no report may hold."""
    folder = Path(shutil.copytree(published, tmp_path_factory.mktemp("tempted") / "a"))
    weights = cx.random_weights(cx.TINY)
    weights["lm_head.bias"][BASE:] += 30.0
    cx.write_weights(folder, weights)
    return HFPolicy(folder)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 5.0])
def test_marks_fillers_and_unused_rows_are_never_written(
    temperature: float, tempted: HFPolicy, asks: list[Ask], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tempted.banned == tuple(range(BASE, cx.TINY.vocabulary))
    decode, written = tempted.tokenizer.decode, []
    monkeypatch.setattr(tempted.tokenizer, "decode", lambda ids, **o: written.extend(ids) or decode(ids, **o))
    decoding = Decoding(20, temperature=temperature)
    tempted.generate(asks, decoding=decoding, seeds=[[1, 2], [3, 4], [5, 6]])
    assert len(written) > 20
    assert max(written) < BASE


def test_plain_generate_does_not_write_them_either(tempted: HFPolicy, asks: list[Ask], tmp_path: Path) -> None:
    save_checkpoint(tempted.model, tempted.processor, tmp_path / "b")
    again = CheXagentForCausalLM.from_pretrained(tmp_path / "b")
    for sample in (False, True):
        torch.manual_seed(0)
        out = again.generate(**tempted.encode(asks), max_new_tokens=12, do_sample=sample)
        assert out[:, -12:].max() < BASE


def test_greedy_reports_are_those_of_generate(policy: HFPolicy, asks: list[Ask]) -> None:
    found = policy.generate(asks, decoding=Decoding(12), seeds=[[0]] * 3)
    for ask, (completion,) in zip(asks, found, strict=True):
        inputs = policy.encode([ask])
        out = policy.model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert completion.text == policy.tokenizer.decode(out, skip_special_tokens=True).strip()
    assert len({completion.text for (completion,) in found}) > 1


def test_any_ids_can_be_decoded(policy: HFPolicy) -> None:
    """The published tokenizer fails on the first of these, and its users lost whole runs to that."""
    start, pad, end = policy.tokenizer.convert_tokens_to_ids(["<|img|>", "<|imgpad|>", "<|/img|>"])
    word = policy.tokenizer("lung")["input_ids"]
    assert policy.tokenizer.decode([start, *word], skip_special_tokens=True) == "lung"
    assert policy.tokenizer.decode([start, *word, end, pad], skip_special_tokens=True) == "lung"
    assert policy.tokenizer.decode([*word, 350, 383, 10**6], skip_special_tokens=True) == "lung"


# Training and saving ----------------------------------------------------------------------------------------------


def test_what_is_saved_has_the_published_names_and_reads_the_same(
    policy: HFPolicy, asks: list[Ask], tmp_path: Path
) -> None:
    save_checkpoint(policy.model, policy.processor, tmp_path)
    assert tensor_shapes(tmp_path) == cx.shapes(cx.TINY)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert (saved["model_type"], saved["architectures"]) == ("chexagent", ["CheXagentForCausalLM"])
    assert "auto_map" not in saved
    again = HFPolicy(tmp_path)
    a, b = policy.encode(asks), again.encode(asks)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert torch.equal(policy.model(**a).logits, again.model(**b).logits)
    assert again.banned == policy.banned
    for name in ("vocab.json", "merges.txt"):  # what the published code reads
        assert (tmp_path / name).is_file()
    (tmp_path / "tokenizer.json").unlink()
    assert load_tokenizer(tmp_path).get_vocab() == policy.tokenizer.get_vocab()


@pytest.mark.parametrize("frozen", [("vision", "projector"), ("vision",), ()])
def test_it_is_trained_with_shared_prompts_and_loads_again(
    frozen: tuple[Any, ...], published: Path, asks: list[Ask], tmp_path: Path
) -> None:
    """Dropout of 0.1 in config.json is off in training, or the first loss would not be that of equal policies."""
    from chexalign.train.vision import Pixels

    policy = HFPolicy(published)
    freeze(policy.model, frozen)
    targets = [Target(str(i), ask, ("Clear lungs.", "The edges are lost.")) for i, ask in enumerate(asks[:2] * 2)]
    examples, vision = encode(policy, targets), Pixels(policy.model, policy.processor)
    batch = pack(examples, pad_id=policy.tokenizer.pad_token_id)
    images = vision.inputs([e.images for e in examples])
    shared, separate = (route(policy.model, batch, images) for route in (shared_logps, separate_logps))
    assert disagreement(shared, separate) < 1e-5
    rows = [fits.Row(example, tuple(sums)) for example, sums in zip(examples, separate.sums().tolist(), strict=True)]
    before = fits.weights(policy.model)
    objective, _, _ = fits.OBJECTIVES["dpo"]
    log = fits.train(
        policy.model, rows, objective, tmp_path / "fit", vision=vision, pad_id=policy.tokenizer.pad_token_id
    )
    assert log.checks["prefix_sharing"]["shared"] is True  # found by the trainer on its first batch
    changed = {name for name, t in policy.model.state_dict().items() if not torch.equal(t, before[name])}
    assert "lm_head.bias" in changed
    assert ("model.visual.proj" in changed) == ("projector" not in frozen)
    assert ("model.visual.model.embeddings.patch_embedding.weight" in changed) == ("vision" not in frozen)
    assert "model.visual.pos_embed" not in changed
    save_checkpoint(policy.model, policy.processor, tmp_path / "trained")
    again = HFPolicy(tmp_path / "trained")
    assert fits.equal(fits.weights(again.model), fits.weights(policy.model))


def test_adapters_end_up_in_weights_of_the_published_names(published: Path, asks: list[Ask], tmp_path: Path) -> None:
    pytest.importorskip("peft")
    policy = HFPolicy(published)
    model = lora.add_lora(policy.model, LoraSpec(r=2, alpha=4), ("vision", "projector"), seed=1)
    assert {part_of(name) for name in lora.trained(model)} == {"language"}
    with torch.no_grad():
        for parameter in lora.trained(model).values():
            parameter.add_(0.1)
    expected = model(**policy.encode(asks)).logits
    save_checkpoint(lora.merge(model), policy.processor, tmp_path)
    assert tensor_shapes(tmp_path) == cx.shapes(cx.TINY)
    again = HFPolicy(tmp_path)
    torch.testing.assert_close(again.model(**policy.encode(asks)).logits, expected, rtol=1e-4, atol=1e-4)


def test_it_can_be_measured_before_its_weights_are_there(folder: Path, asks: list[Ask]) -> None:
    for path in folder.glob("model*"):
        path.unlink()
    measured = HFPolicy(folder, device="meta")
    assert measured.encode(asks)["input_ids"].shape[0] == 3
    assert len(measured.banned) == cx.TINY.vocabulary - BASE


def test_headers_alone_tell_how_many_values_there_are(published: Path) -> None:
    expected = sum(int(np.prod(shape)) for shape in cx.shapes(cx.TINY).values())
    assert check_weights(published, load_config(published)) == expected


# Confirming -------------------------------------------------------------------------------------------------------


def test_a_folder_is_held_against_what_is_assumed(published: Path) -> None:
    points = {point.what: point for point in confirm(published)}
    differing = {what for what, point in points.items() if not point.agrees}
    assert differing == {
        *("config.json hidden_size", "config.json num_hidden_layers", "config.json vocab_size"),
        *("config.json partial_rotary_factor", "config.json image_size", "values in the weights"),
        *("id of the end token", "id of the first image mark"),
    }
    assert points["the table of positions is sines and cosines of column, then row"].found is True
    assert points["kinds of numbers"].found == "F32"
    assert points["tokenizer_config.json add_bos_token"].found is None
    assert str(points["config.json hidden_size"]).startswith("DIFFERS")
    assert str(points["config.json hidden_act"]).startswith("agrees")


def test_another_table_of_positions_is_told(folder: Path) -> None:
    weights = cx.random_weights(cx.TINY)
    weights["model.visual.pos_embed"] = weights["model.visual.pos_embed"].flip(1)
    cx.write_weights(folder, weights)
    assert not next(point for point in confirm(folder) if "table" in point.what).agrees


def test_the_page_about_it_says_how_to_confirm(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "chexagent2.md").read_text()
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    exec(snippet.replace("FOLDER", str(published)))
    assert "values in the weights: assumed 3140746752" in capsys.readouterr().out
