"""CheXagent-2 in use: tokens, prompts, images, reports, training, and what is saved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from chexalign.errors import UserError
from chexalign.policy.base import Ask, AskError, Decoding
from chexalign.policy.chexagent2.files import tensor_shapes
from chexalign.policy.chexagent2.model import CheXagentForCausalLM
from chexalign.policy.chexagent2.tokenizer import load_tokenizer
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.recipe import LoraSpec
from chexalign.train import lora
from chexalign.train.examples import Target, encode
from chexalign.train.freeze import freeze, part_of
from chexalign.train.pack import pack
from chexalign.train.prefix import disagreement, separate_logps, shared_logps
from tests import chexagent2 as cx
from tests import fits

MARKS = ["<|img|>", "<|/img|>", "<|imgpad|>", "<|ref|>", "<|/ref|>", "<|box|>", "<|/box|>", "<|quad|>", "<|/quad|>"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cx.write(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def policy(published: Path) -> HFPolicy:
    return HFPolicy(published)


@pytest.fixture(scope="module")
def asks(tmp_path_factory: pytest.TempPathFactory) -> list[Ask]:
    return cx.asks(tmp_path_factory.mktemp("images"))


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy that the test may damage."""
    return Path(shutil.copytree(published, tmp_path / "copy"))


# The tokenizer ----------------------------------------------------------------------------------------------------


def test_added_tokens_follow_the_vocabulary_in_their_order(policy: HFPolicy) -> None:
    names = [*MARKS, *(f"<|coord_{i}|>" for i in range(10))]
    assert policy.tokenizer.convert_tokens_to_ids(names) == list(range(cx.BASE, cx.BASE + len(names)))
    extra = [f"<|extra_{i}|>" for i in range(320 - cx.BASE - len(names))]
    assert policy.tokenizer.convert_tokens_to_ids(extra) == list(range(cx.BASE + len(names), 320))
    assert len(policy.tokenizer) == 320  # the next multiple of 64


def test_a_vocabulary_that_is_a_multiple_already_gets_no_extra_tokens(folder: Path) -> None:
    vocabulary = json.loads((folder / "vocab.json").read_text())
    vocabulary |= {f"word{i}": len(vocabulary) + i for i in range(320 - 19 - cx.BASE)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    known = load_tokenizer(folder).get_vocab()
    assert len(known) == 320
    assert not [token for token in known if token.startswith("<|extra_")]


def test_ids_that_the_files_name_count(folder: Path) -> None:
    """Phi-2's own tokenizer has added tokens before them: runs of spaces, which stay allowed."""
    entries = {cx.BASE: ("  ", False), cx.BASE + 1: ("<|user|>", True), cx.BASE + 2: ("<|img|>", True)}
    decoder = {str(i): {"content": token, "special": special} for i, (token, special) in entries.items()}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": decoder, "add_bos_token": True, "tokenizer_class": "CheXagentTokenizer"})
    )
    policy = HFPolicy(folder)
    names = ["  ", "<|user|>", "<|img|>", "<|/img|>", "<|imgpad|>"]
    assert policy.tokenizer.convert_tokens_to_ids(names) == list(range(cx.BASE, cx.BASE + 5))
    assert policy.model.config.image_token_id == cx.BASE + 4
    assert {cx.BASE, cx.BASE + 1}.isdisjoint(policy.banned)
    assert {cx.BASE + 2, cx.BASE + 3, cx.BASE + 4} <= set(policy.banned)
    assert policy.tokenizer("hello")["input_ids"] == policy.tokenizer("hello", add_special_tokens=False)["input_ids"]


def test_ids_that_cannot_be_are_refused(folder: Path) -> None:
    (folder / "added_tokens.json").write_text(json.dumps({"<|img|>": cx.BASE + 7}))
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
    weights["lm_head.bias"][cx.BASE :] += 30.0
    cx.write_weights(folder, weights)
    return HFPolicy(folder)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 5.0])
def test_marks_fillers_and_unused_rows_are_never_written(
    temperature: float, tempted: HFPolicy, asks: list[Ask], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tempted.banned == tuple(range(cx.BASE, cx.TINY.vocabulary))
    decode, written = tempted.tokenizer.decode, []
    monkeypatch.setattr(tempted.tokenizer, "decode", lambda ids, **o: written.extend(ids) or decode(ids, **o))
    decoding = Decoding(20, temperature=temperature)
    tempted.generate(asks, decoding=decoding, seeds=[[1, 2], [3, 4], [5, 6]])
    assert len(written) > 20
    assert max(written) < cx.BASE


def test_plain_generate_does_not_write_them_either(tempted: HFPolicy, asks: list[Ask], tmp_path: Path) -> None:
    save_checkpoint(tempted.model, tempted.processor, tmp_path / "b")
    again = CheXagentForCausalLM.from_pretrained(tmp_path / "b")
    for sample in (False, True):
        torch.manual_seed(0)
        out = again.generate(**tempted.encode(asks), max_new_tokens=12, do_sample=sample)
        assert out[:, -12:].max() < cx.BASE


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
    assert len(measured.banned) == cx.TINY.vocabulary - cx.BASE
