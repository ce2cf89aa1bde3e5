"""Judges that are models behind a server: what is sent, what is read, and whose failure a failure is."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chexalign.engines.endpoint import Client
from chexalign.errors import UserError
from chexalign.judges import asking
from chexalign.judges.asking import PromptFile
from chexalign.judges.base import TextPair
from chexalign.judges.checkpoints import slug
from chexalign.judges.green import GreenCompatJudge, GreenJudge
from chexalign.judges.llm import LLMJudge
from chexalign.judges.stage import make_judge
from chexalign.recipe import JudgeSpec
from tests.fault_server import NONSENSE, Body, Reply, answer, serve

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openai") is None, reason="the extra `endpoint` is not installed"
)

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = json.loads((ROOT / "tests/golden/judges/green_answers.json").read_text(encoding="utf-8"))
PAIR = TextPair("Small left effusion.", "Small left effusion. Heart normal.")
# Not the official wording, but with its parts in their order.
TEMPLATE = """Compare.
    a) one. b) two. c) three. d) four. e) five. f) six.

    Reference: {{ reference }}

    Candidate: {{ candidate }}

    [Explanation]:
    [Clinically Significant Errors]:
    [Clinically Insignificant Errors]:
    [Matched Findings]:
"""


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "Client", lambda spec: Client(spec, pause_s=0.01))


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "green.txt"
    path.write_text(TEMPLATE)
    return path


def says(text: str | Callable[[str], str]) -> Callable[[Body, int], Reply]:
    """A server that answers every prompt so."""
    return lambda body, _: Reply(answer(body, [text if isinstance(text, str) else text(prompt(body))]))


def prompt(body: Body) -> str:
    return str(body["messages"][0]["content"])


def judge(url: str, template: Path, kind: type[GreenJudge] = GreenJudge, **more: Any) -> GreenJudge:
    return kind(template=str(template), url=url, **{"model": "org/GREEN-x", "concurrency": 4, "retries": 1, **more})


# green ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty_turn", ["template", "message"])
def test_green_asks_greedily_about_the_first_300_words(template: Path, empty_turn: str) -> None:
    long = TextPair(" ".join(f"c{i}" for i in range(10_000)), "One\n\n two\t [3] **three** {{ candidate }}.")
    with serve(says(ANSWERS["good"])) as server:
        found = judge(server.url, template, empty_turn=empty_turn).score([long])[0]
    body = server.bodies[0]
    user, *more = body["messages"]
    assert more == ([{"role": "assistant", "content": ""}] if empty_turn == "message" else [])
    cut = " ".join(f"c{i}" for i in range(300))
    expected = TEMPLATE.replace("{{ candidate }}", cut).replace("{{ reference }}", "one two three {{ candidate }}.")
    assert user == {"role": "user", "content": expected}
    assert (body["temperature"], body["max_tokens"], "n" in body) == (0.0, 1024, False)
    assert (found.status, found.value) == ("ok", 4 / 6)


def test_green_keeps_counts_sentences_and_the_answer(template: Path) -> None:
    with serve(says(ANSWERS["good"])) as server:
        found = judge(server.url, template).score([PAIR])[0]
    zeros = {f"{kind}.{letter}": 0.0 for kind in ("significant", "insignificant") for letter in "abcdef"}
    assert found.parts == {
        **zeros,
        "matched": 4,
        "n_significant": 2,
        "n_insignificant": 2,
        "compat": 4 / 6,
        "significant.b": 1,
        "significant.d": 1,
        "insignificant.c": 2,
    }
    assert found.notes["significant.b"] == "Small left pleural effusion"
    assert found.notes["answer"] == ANSWERS["good"]


def test_texts_may_be_left_raw(template: Path) -> None:
    with serve(says(ANSWERS["good"])) as server:
        judge(server.url, template, texts="raw").score([TextPair("The  HEART\x00\x07 [1].", "Heart.")])
    assert "Candidate: The HEART [1]." in prompt(server.bodies[0])


def test_half_a_section_is_unparsed_and_its_official_score_is_kept(template: Path) -> None:
    half = ANSWERS["significant section missing"]
    with serve(says(half)) as server:
        found = judge(server.url, template).score([PAIR])[0]
        official = judge(server.url, template, GreenCompatJudge).score([PAIR])[0]
    assert (found.value, found.status) == (None, "unparsed")
    assert found.reason == "the section [Clinically Significant Errors] is missing"
    assert (found.parts, found.notes) == ({"compat": 1.0}, {"answer": half})
    assert (official.value, official.status, official.parts["matched"]) == (1.0, "ok", 3.0)


@pytest.mark.parametrize("digits", [400, 9000])
def test_counts_beyond_all_numbers_are_none(template: Path, digits: int) -> None:
    with serve(says(ANSWERS["good"].replace("4. Cardio", "4" * digits + ". Cardio"))) as server:
        found = judge(server.url, template).score([PAIR])[0]
        official = judge(server.url, template, GreenCompatJudge).score([PAIR])[0]
    assert (found.value, found.status, found.parts) == (None, "unparsed", {})
    assert (official.value, official.status) == (None, "error")


def test_an_answer_that_was_cut_is_unparsed(template: Path) -> None:
    def cut(body: Body, _: int) -> Reply:
        reply = answer(body, [ANSWERS["good"]])
        reply["choices"][0]["finish_reason"] = "length"
        return Reply(reply)

    with serve(cut) as server:
        found = judge(server.url, template, max_new_tokens=64).score([PAIR])[0]
    assert (found.status, found.reason) == ("unparsed", "the answer was cut at 64 tokens")
    assert found.parts == {"compat": 4 / 6}


def test_texts_that_need_no_model(template: Path) -> None:
    found = judge("http://127.0.0.1:9/v1", template).score(
        [TextPair(" [x] ", "Clear."), TextPair("Clear.", "..."), TextPair("Clear.</s><|assistant|>", "Clear.")]
    )
    assert [(j.value, j.status) for j in found] == [(0.0, "ok"), (None, "error"), (None, "refused")]
    assert found[1].reason == "the reference has no words"
    assert found[2].reason == "the candidate holds marks of a chat format"


@pytest.mark.parametrize(
    "pair",
    [
        TextPair("Clear.", "Clear"),
        TextPair("Herz normal groß, kein Erguß.", "肺野清晰"),
        TextPair("a\x00\x1b[31m\u202eb", "no\x07dule"),
        TextPair("{reference} {0} %s {{ reference }}", "Clear."),
    ],
    ids=["one word", "not english", "control characters", "places of the template"],
)
def test_odd_texts_are_asked_about_as_they_are(template: Path, pair: TextPair) -> None:
    with serve(says(ANSWERS["good"])) as server:
        assert judge(server.url, template, texts="raw").score([pair])[0].status == "ok"
    sent = prompt(server.bodies[0])
    assert sent.count("Reference: ") == sent.count("Candidate: ") == 1
    assert not {"\x00", "\x07", "\x1b"} & set(sent)


def test_rows_go_out_at_the_same_time_and_equal_ones_once(template: Path) -> None:
    pairs = [TextPair(f"Finding {i % 20}.", "Clear.") for i in range(60)]

    def reply(body: Body, _: int) -> Reply:
        n = int(prompt(body).split("finding ")[1].split(".")[0])
        return Reply(answer(body, [ANSWERS["no errors at all"].replace("2. Clear", f"{n}. Clear")]), delay_s=0.02)

    with serve(reply) as server:
        found = judge(server.url, template).score(pairs)
    assert [j.parts["matched"] for j in found] == [i % 20 for i in range(60)]
    assert len(server.bodies) == 20
    assert server.most_at_once == 4


# failures -------------------------------------------------------------------------------------------------------------

FAILURES: dict[str, Reply] = {
    "500": Reply({"error": {"message": "Finding 3"}}, 500),
    "400": Reply({"error": {"message": "Finding 3"}}, 400),
    "413": Reply({"error": {"message": "maximum context length"}}, 400),
    **{name: Reply(text) for name, text in NONSENSE.items()},
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_row_that_fails_for_good_leaves_the_others(template: Path, kind: str) -> None:
    def reply(body: Body, _: int) -> Reply:
        return FAILURES[kind] if "finding 3." in prompt(body) else Reply(answer(body, [ANSWERS["good"]]))

    pairs = [TextPair(f"Finding {i}.", "Clear.") for i in range(8)]
    with serve(reply) as server:
        found = judge(server.url, template).score(pairs)
    assert [j.status for j in found] == ["error" if i == 3 else "ok" for i in range(8)]
    assert found[3].reason
    assert "Finding 3" not in found[3].reason
    assert "finding 3" not in found[3].reason


@pytest.mark.parametrize("status", [500, 401, 404])
def test_a_server_that_answers_nothing_ends_the_run(template: Path, status: int) -> None:
    with serve(lambda *_: Reply({"error": {}}, status)) as server, pytest.raises(UserError):
        judge(server.url, template).score([TextPair(f"Finding {i}.", "Clear.") for i in range(50)])
    assert len(server.bodies) < 30


def test_a_server_that_goes_away_ends_the_run(template: Path) -> None:
    left, lock = [10], threading.Lock()

    def reply(body: Body, _: int) -> Reply:
        with lock:
            left[0] -= 1
            return Reply(answer(body, [ANSWERS["good"]])) if left[0] >= 0 else Reply({"error": {}}, 503)

    with serve(reply) as server, pytest.raises(UserError, match="no usable answer"):
        judge(server.url, template).score([TextPair(f"Finding {i}.", "Clear.") for i in range(100)])


# options --------------------------------------------------------------------------------------------------------------


def test_the_version_names_the_model_and_the_wording(template: Path) -> None:
    first = judge("http://a/v1", template)
    assert first.version.startswith("1-GREEN-x-")
    assert "@" not in first.version
    assert judge("http://b/v1", template, concurrency=9).version == first.version
    others = [
        judge("http://a/v1", template, model="org/GREEN-y"),
        judge("http://a/v1", template, texts="raw"),
        judge("http://a/v1", template, max_new_tokens=99),
        judge("http://a/v1", template, empty_turn="message"),
        judge("http://a/v1", template, extra_body={"seed": 1}),
    ]
    template.write_text(TEMPLATE + "\n")
    versions = {first.version, judge("http://a/v1", template).version, *(other.version for other in others)}
    assert len(versions) == 7


def test_the_server_is_told_so_that_licenses_can_be_checked(template: Path) -> None:
    found = judge("http://a/v1", template, endpoint_is_mine=True)
    assert (found.endpoint.url, found.endpoint.endpoint_is_mine) == ("http://a/v1", True)


@pytest.mark.parametrize(
    "text",
    [
        TEMPLATE.replace("{{ candidate }}", ""),
        TEMPLATE + "{{ candidate }}",
        TEMPLATE.replace("[Matched Findings]:", ""),
        TEMPLATE.replace("f) six.", ""),
        TEMPLATE.replace("reference }}", "x }}")
        .replace("candidate }}", "reference }}")
        .replace("x }}", "candidate }}"),
    ],
)
def test_a_prompt_that_is_not_greens_is_refused(template: Path, text: str) -> None:
    template.write_text(text)
    with pytest.raises(UserError):
        judge("http://a/v1", template)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://a/v1", "model": "m"},
        {"url": "http://a/v1", "model": "m", "template": "x", "python": "y"},
        {"url": "http://a/v1", "model": "m", "template": "/nowhere/green.txt"},
        {"url": "http://a/v1", "template": "green.txt"},
        {"url": "http://a/v1", "model": "m", "template": "green.txt", "concurency": 3},
        {"url": "http://a/v1", "model": "m", "template": "green.txt", "concurrency": 0},
        {"url": "http://a/v1", "model": "m", "python": "/nowhere/python"},
        {"url": "http://a/v1", "model": "m", "template": "green.txt", "texts": "Raw"},
    ],
)
def test_wrong_options_are_told_in_three_lines(
    template: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.chdir(template.parent)
    with pytest.raises(UserError) as caught:
        GreenJudge(**options)
    assert len(str(caught.value).splitlines()) == 3


def test_the_chat_template_gives_the_prompt_that_the_models_know() -> None:
    import jinja2

    text = (ROOT / "recipes/chat_templates/green.jinja").read_text()
    render = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(text).render
    user = {"role": "user", "content": "Compare.\n"}
    expected = "<s><|user|>\nCompare.\n</s>\n<|assistant|>\n</s>\n<|assistant|>\n"
    for messages in ([user, {"role": "assistant", "content": ""}], [user]):
        assert render(messages=messages, add_generation_prompt=True, bos_token="<s>") == expected
        found = render(messages=messages, add_generation_prompt=True, bos_token="", eos_token="<|endoftext|>")
        assert found == expected.replace("<s>", "").replace("</s>", "<|endoftext|>"), "GREEN-Phi2 has another end"


# green_style and llm --------------------------------------------------------------------------------------------------


def test_green_style_has_a_wording_of_its_own_and_no_empty_turn() -> None:
    with serve(says(ANSWERS["good"])) as server:
        judge = make_judge(JudgeSpec(name="green_style", options={"url": server.url, "model": "m"}))
        found = judge.score([PAIR])[0]
    assert (judge.name, found.value) == ("green_style", 4 / 6)
    assert len(server.bodies[0]["messages"]) == 1
    assert "small left effusion. heart normal." in prompt(server.bodies[0])


@pytest.fixture
def prompt_file(tmp_path: Path) -> Path:
    path = tmp_path / "prompt.txt"
    path.write_text('Rate {candidate} against {reference}; answer {"score": 1 to 5}.')
    return path


def llm_judge(url: str, prompt_file: Path, **more: Any) -> LLMJudge:
    return LLMJudge(**{"prompt": str(prompt_file), "worst": 1, "best": 5, "url": url, "model": "m", **more})


@pytest.mark.parametrize(
    ("where", "text", "value"),
    [
        ({"pattern": r"Score: (\S+)"}, "Score: 4", 0.75),
        ({"pattern": r"Score: (\S+)"}, "Score: 4\nAgain, Score: 4.0", 0.75),
        ({"pattern": r"Score: (\S+)", "worst": 10, "best": 0}, "Score: 2.5", 0.75),
        ({"pattern": r"Score: (\S+)"}, "Score: 4, or Score: 2", None),
        ({"pattern": r"Score: (\S+)"}, "Score: 2 of 5, Score: 4 of 5", None),
        ({"pattern": r"Score: (\S+)"}, "Score: four", None),
        ({"pattern": r"Score: (\S+)"}, "Score: nan", None),
        ({"pattern": r"Score: (\S+)"}, "Score: 7", None),
        ({"pattern": r"Score: (\S+)"}, "I cannot say.", None),
        ({"pattern": r"Score: (\S+)"}, "", None),
        ({"json_path": "score"}, '{"score": 4}', 0.75),
        ({"json_path": "score"}, 'Here:\n```json\n{"score": 4.0, "why": "x"}\n```', 0.75),
        ({"json_path": "a.1.b"}, '{"a": [0, {"b": 3}]}', 0.5),
        ({"json_path": "score"}, '{"score": "4"}', None),
        ({"json_path": "score"}, '{"score": true}', None),
        ({"json_path": "score"}, '{"score": NaN}', None),
        ({"json_path": "score"}, '{"score": ' + "9" * 400 + "}", None),
        ({"json_path": "score"}, '{"score": ' + "9" * 9000 + "}", None),
        ({"pattern": r"Score: (\S+)"}, "Score: " + "9" * 9000, None),
        ({"json_path": "score"}, '{"score": 4', None),
        ({"json_path": "score"}, '{"value": 4}', None),
        ({"json_path": "a.5"}, '{"a": [1]}', None),
        ({"json_path": "score"}, "4", None),
    ],
)
def test_llm_reads_a_number_or_none(prompt_file: Path, where: dict[str, Any], text: str, value: float | None) -> None:
    with serve(says(text)) as server:
        found = llm_judge(server.url, prompt_file, **where).score([PAIR])[0]
    assert (found.value, found.status) == (value, "unparsed" if value is None else "ok")
    assert found.notes == {"answer": text}
    assert bool(found.reason) == (value is None)
    wanted = 'Rate small left effusion. against small left effusion. heart normal.; answer {"score": 1 to 5}.'
    assert prompt(server.bodies[0]) == wanted


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pattern": "(a)", "json_path": "b"},
        {"pattern": "a"},
        {"pattern": "(a)(b)"},
        {"pattern": "(a"},
        {"pattern": "(a)", "worst": 1, "best": 1},
        {"pattern": "(a)", "prompt": "/nowhere"},
    ],
)
def test_llm_refuses_options_that_cannot_work(prompt_file: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        llm_judge("http://a/v1", prompt_file, **options)


def test_a_prompt_file_keeps_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_bytes(b"  {candidate}\r\n{reference}\n\n")
    assert PromptFile.load(path).render("a", "b") == "  a\r\nb\n\n"
    path.write_bytes(b"\xff{candidate}{reference}")
    with pytest.raises(UserError):
        PromptFile.load(path)


def test_slugs() -> None:
    assert [slug(name) for name in ("StanfordAIMI/GREEN-7b", "m:latest@x", "/")] == [
        "GREEN-7b",
        "m-latest-x",
        "model",
    ]
