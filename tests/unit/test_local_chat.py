"""A language model asked in this process: the answers of a plain loop in any batch, and each row's own failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from chexalign.engines import local_chat
from chexalign.engines.endpoint_answer import Call
from chexalign.engines.local_chat import TOO_LONG, LocalChat, LocalChatSpec
from chexalign.errors import UserError
from tests import vlms
from tests.chat_models import end_with, plain_answer, tiny_llama

N = 12
WORDS = ["the", "heart", "is", "not", "enlarged", "a", "small", "effusion", "on", "left", "side"]
QUESTIONS = [" ".join(WORDS[i % 5 :] * (1 + i % 4)) for i in range(11)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


def call(text: str, n: int = N) -> Call:
    return Call([{"role": "user", "content": text}], max_tokens=n)


def chat(folder: Path, **more: object) -> LocalChat:
    return LocalChat(LocalChatSpec(folder, dtype="fp32", device="cpu", **more))  # type: ignore[arg-type]


def test_answers_are_those_of_a_plain_loop_whatever_the_batch(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    eos = tokenizer.eos_token
    expected = []
    for question in QUESTIONS:
        tokens = plain_answer(folder, f"<|user|>{question}{eos}<|assistant|>", N)
        end = tokens.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in tokens else None
        expected.append((tokenizer.decode(tokens[:end], skip_special_tokens=True), "length" if end is None else "stop"))
    assert len(set(expected)) > 5, "or the model says the same to everything"
    for size in (1, 4, 64):
        found = chat(folder, batch_size=size).answers([call(q) for q in QUESTIONS])
        assert [(c.text, c.finish) for c in found if not isinstance(c, str)] == expected


def test_an_end_token_of_the_settings_makes_an_answer_whole(folder: Path, tmp_path: Path) -> None:
    own = tiny_llama(tmp_path)
    before = chat(own).answers([call("heart")])[0]
    assert not isinstance(before, str)
    eos = AutoTokenizer.from_pretrained(own).eos_token
    tokens = plain_answer(own, f"<|user|>heart{eos}<|assistant|>", N)
    assert (before.finish, before.n_tokens) == ("length", N)
    end_with(own, tokens[4])
    after = chat(own).answers([call("heart"), call("side")])[0]
    assert not isinstance(after, str)
    n = tokens.index(tokens[4])
    assert (after.finish, after.n_tokens) == ("stop", n + 1)
    assert before.text.startswith(after.text)


def test_the_context_bounds_answers_and_a_prompt_beyond_it_is_its_own_failure(tmp_path: Path) -> None:
    own = tiny_llama(tmp_path, window=80)
    tokenizer = AutoTokenizer.from_pretrained(own)
    long = "heart " * 80
    middle = "effusion " * 3
    used = len(tokenizer(f"<|user|>{middle}{tokenizer.eos_token}<|assistant|>", add_special_tokens=False)["input_ids"])
    assert used < 80
    found = chat(own).answers([call("side", 20), call(long, 20), call(middle, 200), call("left", 20)])
    assert [isinstance(c, str) for c in found] == [False, True, False, False]
    assert found[1] == TOO_LONG
    cut = found[2]
    assert not isinstance(cut, str)
    assert (cut.finish, cut.n_tokens) == ("length", 80 - used)


def test_the_batch_is_halved_when_memory_runs_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = LocalChat._generate
    too_long = max(QUESTIONS, key=len)

    def generate(self: LocalChat, batch: list[object]) -> object:
        asked.append(len(batch))
        n = max(len(p.tokens) for p in batch)  # type: ignore[attr-defined]
        if len(batch) > 3 or n == longest:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, batch)  # type: ignore[arg-type]

    whole = chat(folder, batch_size=8).answers([call(q) for q in QUESTIONS])
    model = chat(folder, batch_size=8)
    longest = len(model._tokens(call(too_long)))
    monkeypatch.setattr(LocalChat, "_generate", generate)
    found = model.answers([call(q) for q in QUESTIONS])
    failed = [i for i, q in enumerate(QUESTIONS) if len(model._tokens(call(q))) == longest]
    assert [i for i, c in enumerate(found) if isinstance(c, str)] == failed
    assert "memory" in str(found[failed[0]])
    assert [c for i, c in enumerate(found) if i not in failed] == [c for i, c in enumerate(whole) if i not in failed]
    assert asked[: 4 * len(failed)] == [8, 4, 2, 1] * len(failed)
    assert asked[4 * len(failed) : 4 * len(failed) + 3] == [8, 4, 2]
    assert model.batch_size == 2
    assert max(asked[4 * len(failed) + 2 :]) == 2, "the others need not pay for one that is too long"


def test_other_errors_are_not_taken_for_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(*_: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(LocalChat, "_generate", generate)
    with pytest.raises(RuntimeError, match="shapes differ"):
        chat(folder).answers([call("heart")])


@pytest.mark.parametrize("begins", [True, False])
def test_with_a_template_from_elsewhere_texts_begin_as_the_tokenizer_begins_them(tmp_path: Path, begins: bool) -> None:
    own = tiny_llama(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(own)
    if begins:
        rule = TemplateProcessing(
            single=f"{tokenizer.bos_token} $A", special_tokens=[(tokenizer.bos_token, tokenizer.bos_token_id)]
        )
        content = json.loads((own / "tokenizer.json").read_text())
        content["post_processor"] = json.loads(rule.__getstate__())
        (own / "tokenizer.json").write_text(json.dumps(content))
    tokens = chat(own, chat_template="{{ bos_token }}[{{ messages[0]['content'] }}]")._tokens(call("heart"))
    assert tokens == AutoTokenizer.from_pretrained(own)("[heart]")["input_ids"]
    assert tokens.count(tokenizer.bos_token_id) == int(begins)


def test_what_cannot_be_loaded_is_told_in_three_lines(folder: Path, tmp_path: Path) -> None:
    def fails(match: str, spec: LocalChatSpec) -> None:
        with pytest.raises(UserError, match=match) as caught:
            LocalChat(spec).answers([call("heart")])
        assert len(str(caught.value).splitlines()) == 3

    with pytest.raises(UserError, match="no model in Hugging Face format"):
        LocalChatSpec(tmp_path / "nothing", dtype="fp32")
    for wrong in ({"dtype": "int8"}, {"dtype": "fp32", "batch_size": 0}):
        with pytest.raises(UserError, match="batch_size"):
            LocalChatSpec(folder, **wrong)  # type: ignore[arg-type]
    without = tiny_llama(tmp_path / "without", template=None)
    fails("chat template", LocalChatSpec(without, dtype="fp32"))
    damaged = tiny_llama(tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"no weights")
    fails("cannot be read", LocalChatSpec(damaged, dtype="fp32"))
    unknown = tiny_llama(tmp_path / "unknown")
    config = json.loads((unknown / "config.json").read_text())
    config |= {"model_type": "newer_than_us", "auto_map": {"AutoModelForCausalLM": "code.Model"}}
    (unknown / "config.json").write_text(json.dumps(config))
    (unknown / "code.py").write_text("raise SystemExit('remote code ran')")
    fails("cannot be read", LocalChatSpec(unknown, dtype="fp32"))


def test_without_room_for_the_weights_the_way_out_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_chat, "device_here", lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("out")))
    with pytest.raises(UserError, match="does not fit into memory in fp16"):
        LocalChat(LocalChatSpec(folder, dtype="fp16")).answers([call("heart")])


def test_a_vision_language_model_is_asked_without_images(tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    config = vlms.make("gemma3").config
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama(tmp_path / "llama"))
    config.get_text_config().vocab_size = len(tokenizer)
    torch.manual_seed(1)
    AutoModelForImageTextToText.from_config(config).save_pretrained(tmp_path / "vlm")
    tokenizer.save_pretrained(tmp_path / "vlm")
    one, many = (chat(tmp_path / "vlm", batch_size=n).answers([call(q) for q in QUESTIONS[:5]]) for n in (1, 5))
    assert one == many
    assert not any(isinstance(c, str) for c in one)
