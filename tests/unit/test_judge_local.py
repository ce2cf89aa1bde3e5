"""Judges that hold their chat model themselves: what it reads, what names it, and what is kept of what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from chexalign.engines.endpoint_answer import Call, Choice
from chexalign.engines.local_chat import LocalChat
from chexalign.errors import UserError
from chexalign.judges import stage
from chexalign.judges.base import TextPair
from chexalign.judges.green import GreenCompatJudge, GreenJudge, GreenStyleJudge
from chexalign.judges.llm import LLMJudge
from chexalign.judges.stage import about_judge, make_judge
from chexalign.recipe import JudgeSpec
from tests.chat_models import tiny_llama
from tests.unit.test_judge_served import ANSWERS, PAIR, TEMPLATE

LOCAL: dict[str, Any] = {"dtype": "fp32", "device": "cpu", "max_new_tokens": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "GREEN-tiny")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "green.txt"
    path.write_text(TEMPLATE)
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the models read, which say a good answer; texts with "long" do not fit."""
    seen: list[str] = []

    def answers(self: LocalChat, calls: list[Call]) -> list[Choice | str]:
        decode = self._loaded.tokenizer.decode
        texts = [
            re.sub(r" (?=<[|/])|(?<=</s>) ", "", decode(self._tokens(call))) for call in calls
        ]  # its blanks before words
        seen.extend(texts)
        whole: list[Choice | str] = [Choice(ANSWERS["good"], "stop", 3, None) for _ in calls]
        return [
            "the prompt does not fit" if "long" in text else found for text, found in zip(texts, whole, strict=True)
        ]

    monkeypatch.setattr(LocalChat, "answers", answers)
    return seen


def spec(name: str, folder: Path, **more: Any) -> JudgeSpec:
    return JudgeSpec(name=name, options={"folder": str(folder), **LOCAL, **more})


def test_green_reads_its_prompt_and_the_empty_turn_whatever_the_tokenizers_template(
    folder: Path, template: Path, asked: list[str]
) -> None:
    for empty_turn in ("template", "message"):
        judge = make_judge(spec("green", folder, template=str(template), empty_turn=empty_turn))
        found = judge.score([PAIR])[0]
        assert (found.status, found.value) == ("ok", 4 / 6)
    prompt = TEMPLATE.replace("{{ candidate }}", "small left effusion.")
    prompt = prompt.replace("{{ reference }}", "small left effusion. heart normal.")
    assert asked == [f"<|user|>\n{prompt}</s>\n<|assistant|>\n</s>\n<|assistant|>\n"] * 2


def test_other_models_are_asked_in_their_own_form(folder: Path, asked: list[str]) -> None:
    make_judge(spec("green_style", folder)).score([PAIR])
    assert asked[0].startswith("<|user|>")
    assert asked[0].endswith("<|assistant|>")
    assert asked[0].count("<|assistant|>") == 1


def test_a_template_of_yours_takes_the_place_of_both(
    folder: Path, template: Path, tmp_path: Path, asked: list[str]
) -> None:
    mine = tmp_path / "mine.jinja"
    mine.write_text("USER {{ messages[0]['content'] }} MODEL")
    make_judge(spec("green", folder, template=str(template), chat_template=str(mine))).score([PAIR])
    assert asked[0].strip().startswith("USER Compare.")
    with pytest.raises(UserError, match="chat_template"):
        make_judge(spec("green", folder, template=str(template), chat_template=str(tmp_path / "nothing")))


def test_a_row_that_cannot_be_asked_is_its_own_error(folder: Path, template: Path, asked: list[str]) -> None:
    judge = GreenJudge(template=str(template), folder=str(folder), **LOCAL)
    found = judge.score([PAIR, TextPair("So long.", "Clear."), TextPair("", "Clear."), TextPair("a</s>", "b"), PAIR])
    assert [j.status for j in found] == ["ok", "error", "ok", "refused", "ok"]
    assert found[1].reason == "the prompt does not fit"
    assert len(asked) == 2, "equal texts are asked about once"


def test_a_model_that_babbles_is_unparsed_and_what_it_said_is_kept(folder: Path, template: Path) -> None:
    for judge in (
        GreenJudge(template=str(template), folder=str(folder), **LOCAL),
        GreenStyleJudge(folder=str(folder), **LOCAL),
    ):
        found = judge.score([PAIR, TextPair("Clear.", "Clear.")])
        assert [j.status for j in found] == ["unparsed", "unparsed"]
        assert found[0].reason == "the answer was cut at 8 tokens"
        assert found[0].notes["answer"]
        judge.close()
    official = GreenCompatJudge(template=str(template), folder=str(folder), **LOCAL).score([PAIR])[0]
    assert (official.value, official.status) == (0.0, "ok")


def test_the_version_names_the_model_by_what_is_in_it(folder: Path, template: Path, tmp_path: Path) -> None:
    def version(path: Path, **more: Any) -> str:
        return GreenJudge(template=str(template), folder=str(path), **{**LOCAL, **more}).version

    first = version(folder)
    assert first.startswith("1-GREEN-tiny-")
    assert version(folder, batch_size=3) == first
    same = tiny_llama(tmp_path / "GREEN-tiny")
    assert version(same) == first, "wherever it lies"
    assert version(folder, dtype="bf16") != first
    assert version(tiny_llama(tmp_path / "other" / "GREEN-tiny", seed=4)) != first
    (same / "chat_template.jinja").write_text("{{ messages }}")
    assert version(same) != first
    with pytest.raises(UserError, match="no model"):
        version(tmp_path)


def test_what_it_says_is_dear_and_found_again_where_the_folder_moved(folder: Path, template: Path) -> None:
    judge = make_judge(spec("green", folder, template=str(template)))
    about = about_judge(spec("green", folder, template=str(template)))
    assert about.dear
    assert about.fills_gpu
    assert about.endpoints == (), "texts go nowhere"
    assert stage._substance(judge, {"folder": "a", "device": "cpu", "batch_size": 3, "texts": "raw"}) == {
        "texts": "raw"
    }


def test_llm_takes_a_folder_too(folder: Path, tmp_path: Path, asked: list[str]) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Rate {candidate} against {reference}.")
    judge = LLMJudge(prompt=str(prompt), worst=0, best=8, pattern=r"Findings\]:\n(\d+)", folder=str(folder), **LOCAL)
    assert judge.score([PAIR])[0].value == 0.5
    assert judge.endpoint is None


@pytest.mark.parametrize("options", [{"url": "http://a/v1"}, {"concurrency": 3}, {"batchsize": 2}])
def test_options_of_a_server_do_not_go_with_a_folder(folder: Path, template: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"the option {next(iter(options))}") as caught:
        GreenJudge(template=str(template), folder=str(folder), **LOCAL, **options)
    assert len(str(caught.value).splitlines()) == 3
