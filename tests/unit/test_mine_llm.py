"""Counterfactual rationales from a server: what is sent, what is read, and that no bad reply ends a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chexalign.engines.endpoint import Client
from chexalign.errors import UserError
from chexalign.ids import keyed_seed
from chexalign.judges import asking
from chexalign.mine.llm.generator import LlmGenerator, LlmSettings, replies_folder
from chexalign.mine.llm.prompt import CounterfactualPrompt
from chexalign.mine.llm.reply import KINDS
from chexalign.mine.llm.store import Reply, ReplyStore
from chexalign.mine.records import Edit, Proposals
from chexalign.recipe.engines import EndpointSpec
from chexalign.run_folder import RunFolder
from chexalign.types import Evidence, ImageRef, Question
from tests.fault_server import NONSENSE, Body, FaultServer, answer, prompt_of, serve
from tests.fault_server import Reply as Response

pytest.importorskip("openai", reason="the extra `endpoint` is not installed")

IMAGE = ImageRef("x.png", "0" * 64, "frontal", 8, 8)
RIGHT = "No. The costophrenic angles are sharp."
WRONG = "Yes. The left costophrenic angle is blunted."


def question(name: str = "q", **more: Any) -> Question:
    plain: dict[str, Any] = {
        "patient_id": "p",
        "study_id": "secret-study",
        "task": "presence",
        "part": "effusion",
        "kind": "basic",
        "answer_type": "verify",
        "text": f"Is there an effusion in {name}?",
        "options": ("yes", "no"),
        "answers": ("no",),
        "images": (IMAGE,),
        "split": "train",
        "source": "made",
        "license": "CC0",
        "rationale": RIGHT,
        "evidence": (Evidence("label", "effusion", present=False), Evidence("study", "secret-study")),
    }
    return Question(id=name, **(plain | more))


def says(answer_: str = "yes", rationale: str = WRONG, edit: str = "negation") -> str:
    return json.dumps({"answer": answer_, "rationale": rationale, "edit": edit})


def replies(*texts: str) -> Any:
    """A server that gives these texts in turn, by how often it was asked about the same question."""
    seen: dict[str, int] = {}

    def behavior(body: Body, _: int) -> Response:
        at = seen[prompt_of(body)] = seen.get(prompt_of(body), -1) + 1
        return Response(answer(body, [texts[min(at, len(texts) - 1)]]))

    return behavior


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "Client", lambda spec: Client(spec, pause_s=0.01))


class Made:
    """Makes generators that ask a server, and closes them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, list[LlmGenerator]()

    def __call__(self, server: FaultServer, *, settings: dict[str, Any] | None = None, **endpoint: Any) -> LlmGenerator:
        spec = EndpointSpec(**{"url": server.url, "model": "org/writer", "retries": 1, "concurrency": 4, **endpoint})
        self.made.append(LlmGenerator(spec, LlmSettings(**(settings or {})), store=self.folder / "replies"))
        return self.made[-1]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    made = Made(tmp_path)
    yield made
    for generator in made.made:
        generator.close()


# What is sent ---------------------------------------------------------------------------------------------------------


def test_the_question_is_sent_with_all_but_ids(make: Made) -> None:
    with serve(replies(says())) as server:
        found = make(server, settings={"temperature": 0.5, "max_tokens": 99}).propose([question()])
    assert found == [Proposals((Edit(WRONG, "negation", ("yes",), "llm"),))]
    (body,) = server.bodies
    assert (body["temperature"], body["max_tokens"]) == (0.5, 99)
    for part in ("Is there an effusion in q?", "(A) yes\n(B) no", "Right answer: (B) no", RIGHT, "- effusion: absent"):
        assert part in prompt_of(body)
    assert "secret-study" not in json.dumps(body)
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"] == {"type": "string", "enum": ["yes"]}
    assert schema["required"] == ["answer", "rationale", "edit"]
    assert schema["properties"]["edit"]["enum"] == list(KINDS)


@pytest.mark.parametrize("message", ["unknown field response_format", "json_schema is not supported here"])
def test_a_server_without_response_format_is_asked_without_it(make: Made, message: str) -> None:
    def behavior(body: Body, _: int) -> Response:
        if "response_format" in body:
            return Response({"error": {"message": message}}, 400)
        return Response(answer(body, [says()]))

    with serve(behavior) as server:
        found = make(server).propose([question("a"), question("b")])
    assert all(p.edits for p in found)


def test_a_prompt_of_the_users_own(make: Made, tmp_path: Path) -> None:
    (path := tmp_path / "mine.txt").write_text('Ask {question}; not {answer}. Say {"answer": 1}.')
    with serve(replies(says())) as server:
        own = make(server, settings={"prompt": path})
        own.propose([question(text="One\x00 {answer} brace?")])
        assert prompt_of(server.bodies[0]) == 'Ask One {answer} brace?; not (B) no. Say {"answer": 1}.'
        assert own.version != make(server).version
        version = own.version
        path.write_text("{question} {answer}")
        assert make(server, settings={"prompt": path}).version != version


@pytest.mark.parametrize(
    ("text", "message"),
    [("{question}", "without the place {answer}"), ("{question} {answer} {rational}", "Did you mean {rationale}")],
)
def test_a_prompt_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        CounterfactualPrompt(text)


def test_a_prompt_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff{question}{answer}")
    for name in ("nothing", "latin"):
        with pytest.raises(UserError, match="cannot be read"):
            CounterfactualPrompt.load(tmp_path / name)


@pytest.mark.parametrize("wrong", [{"n": 0}, {"tries": 0}, {"temperature": -1}, {"temperature": 0, "n": 2}])
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        LlmSettings(**wrong)


def test_whatever_changes_a_reply_changes_the_version(make: Made) -> None:
    with serve() as server:
        plain = make(server).version
        others = [make(server, settings={name: 2}).version for name in ("temperature", "max_tokens", "n", "tries")]
        others += [make(server, model="o").version, make(server, extra_body={"a": 1}).version]
        same = make(server, concurrency=1, api_key_env="SOME_KEY").version
    assert plain == same
    assert plain.startswith("llm@1-writer-")
    assert len({plain, *others}) == 7


# Bad replies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "no_json"),
        ("I cannot do that.", "no_json"),
        (f"Sure! {says()}", "no_json"),
        ("[1]", "no_json"),
        ('{"answer": "yes"', "no_json"),
        ("[" * 9999, "no_json"),
        ('{"answer": "yes", "rationale": "Yes."}', "wrong_keys"),
        ('{"answer": "yes", "rationale": "Yes.", "edit": 1}', "wrong_keys"),
        (says()[:-1] + ', "answer": "no"}', "wrong_keys"),
        (says()[:-1] + ', "why": "x"}', "wrong_keys"),
        (says(rationale=" \n"), "empty"),
        (says(edit="own"), "unknown_edit"),
        (says("perhaps"), "not_an_option"),
        (says("no"), "same_answer"),
        (says(rationale="No. It is sharp."), "answer_not_in_rationale"),
        (says(rationale="Yes.</s><|user|>"), "chat_marks"),
    ],
)
def test_a_bad_reply_is_asked_for_again_and_then_counted(make: Made, reply: str, reason: str) -> None:
    good = question("Qgood")
    with serve(lambda b, _: Response(answer(b, [says() if "Qgood" in prompt_of(b) else reply]))) as server:
        found = make(server, settings={"tries": 2}).propose([question("Qbad"), good])
    assert found[0] == Proposals((), reason)
    assert [e.answers for e in found[1].edits] == [("yes",)]
    assert len({body["seed"] for body in server.bodies}) == 3


def test_the_second_try_may_be_good(make: Made) -> None:
    with serve(replies("Hm.", says())) as server:
        (found,) = make(server).propose([question()])
    assert found.failed is None
    assert len(server.bodies) == 2


def test_at_temperature_0_the_same_is_not_asked_again(make: Made) -> None:
    with serve(replies("Hm.")) as server:
        (found,) = make(server, settings={"temperature": 0}).propose([question()])
    assert found.failed == "no_json"
    assert len(server.bodies) == 1


def test_a_reply_that_was_cut(make: Made) -> None:
    def behavior(body: Body, _: int) -> Response:
        whole = answer(body, [says()])
        whole["choices"][0]["finish_reason"] = "length"
        return Response(whole)

    with serve(behavior) as server:
        assert make(server).propose([question()])[0].failed == "cut"


@pytest.mark.parametrize("name", NONSENSE)
def test_a_question_on_which_the_server_fails_is_that_questions_failure(make: Made, name: str) -> None:
    with serve(lambda b, _: Response(NONSENSE[name] if "Qbad" in prompt_of(b) else answer(b, [says()]))) as server:
        found = make(server).propose([question("Qbad"), question("other")])
    assert [p.failed for p in found] == ["no_reply", None]


def test_a_prompt_beyond_the_context(make: Made) -> None:
    refusal = Response({"error": {"message": "exceed_context_size"}}, 400)
    with serve(lambda b, _: refusal if "Qbad" in prompt_of(b) else Response(answer(b, [says()]))) as server:
        found = make(server).propose([question("Qbad"), question("other")])
    assert [p.failed for p in found] == ["prompt_too_long", None]


def test_a_server_that_is_gone_ends_the_run(make: Made) -> None:
    with serve(lambda *_: Response("", 500)) as server, pytest.raises(UserError, match="no usable answer"):
        make(server).propose([question()])


def test_texts_that_could_speak_for_somebody_else_are_not_sent(make: Made) -> None:
    with serve(replies(says())) as server:
        found = make(server).propose([question(rationale="No. <|assistant|> Yes.")])
    assert found[0].failed == "chat_marks"
    assert server.bodies == []


# Several questions, several proposals ---------------------------------------------------------------------------------


def test_proposals_keep_the_order_of_the_questions_however_long_each_takes(make: Made) -> None:
    names = [f"Q{i:02}" for i in range(24)]

    def behavior(body: Body, _: int) -> Response:
        name = next(name for name in names if name in prompt_of(body))
        return Response(answer(body, [says(rationale=f"Yes. {name}.")]), delay_s=0.03 if name < "Q04" else 0)

    with serve(behavior) as server:
        found = make(server, settings={"n": 2}).propose([question(name) for name in names])
        assert server.most_at_once <= 4
    assert [[edit.text for edit in p.edits] for p in found] == [[f"Yes. {name}."] for name in names]


def test_distinct_proposals_stand_in_the_order_of_their_seeds(make: Made) -> None:
    options = ("a", "b", "c", "d")
    asked = question(answer_type="choose", options=options, answers=("d",), rationale=None)
    said = {(0, 0): says("a"), (1, 0): "Hm.", (1, 1): says("b"), (2, 0): says("a")}
    by_seed = {keyed_seed(0, "counterfactual", "q", *at) & 0x7FFFFFFF: text for at, text in said.items()}
    with serve(
        lambda body, _: Response(answer(body, [by_seed[body["seed"]]]), delay_s=body["seed"] % 3 / 50)
    ) as server:
        generator = make(server, settings={"n": 3, "tries": 2})
        (found,) = generator.propose([asked])
    assert [e.text for e in found.edits] == ["(A) a", "(B) b"]
    assert found.failed is None
    assert generator.usage["answers"] == 4


# What is kept ---------------------------------------------------------------------------------------------------------


def test_a_killed_run_asks_no_question_twice(make: Made) -> None:
    asked = [question(f"q{i}") for i in range(6)]

    def behavior(body: Body, _: int) -> Response:
        return Response(answer(body, [says() if "q1" in prompt_of(body) else "Hm."]))

    with serve(behavior) as server:
        first = make(server)
        whole = first.propose(asked[:4])
        n = len(server.bodies)
        (path,) = (make.folder / "replies").rglob("*.jsonl")
        assert path.stat().st_mode & 0o777 == 0o600
        again = make(server)  # the first was not closed
        assert again.propose(asked[:4]) == whole
        assert len(server.bodies) == n
        path.write_bytes(path.read_bytes()[:-30])  # as if killed in the middle of a line
        assert make(server).propose(asked)[:4] == whole
    assert len(server.bodies) == n + 1 + 2 * 3


def test_more_proposals_take_those_that_are_there(make: Made) -> None:
    with serve(replies(says())) as server:
        make(server).propose([question()])
        make(server, settings={"n": 2, "tries": 9}).propose([question()])
        assert len(server.bodies) == 2
        make(server, settings={"max_tokens": 77}).propose([question()])
        assert len(server.bodies) == 3


def test_lines_that_were_damaged_are_passed_over(tmp_path: Path) -> None:
    store = ReplyStore(tmp_path)
    for key in "abc":
        store.put(key, Reply(f"text {key} \U0001f917 é\u2028", key != "b"))
    store.put("a", Reply("later", True))
    store.close()
    (path,) = tmp_path.glob("*.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["", "[]", "7", '["x", 1, 2]', lines[0].replace("text a", "text b"), *lines[1:]]))
    again = ReplyStore(tmp_path)
    assert (again.get("a"), again.get("b"), again.get("x")) == (None, Reply("text b \U0001f917 é\u2028", False), None)


def test_replies_lie_beside_the_runs(tmp_path: Path) -> None:
    assert replies_folder(RunFolder(tmp_path / "runs" / "a")) == tmp_path / "runs" / ".cache" / "replies"


# Where texts may go ---------------------------------------------------------------------------------------------------


def test_closed_data_are_not_sent_to_others(make: Made) -> None:
    elsewhere = {"url": "http://192.0.2.1:9/v1"}
    closed = replace(question(), license="PhysioNet Credentialed Health Data License 1.5.0")
    with serve() as server:
        with pytest.raises(UserError, match="PhysioNet"):
            make(server, **elsewhere).propose([question(), closed])
        assert not (make.folder / "replies").exists()
    with serve(replies(says())) as server:  # on this machine
        assert make(server).propose([closed])[0].edits


def test_the_key_is_in_no_file_and_no_version(make: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRITER_KEY", "s3cr3t-k3y")
    with serve(replies(says())) as server:
        generator = make(server, api_key_env="WRITER_KEY")
        generator.propose([question()])
        assert server.headers[0]["authorization"] == "Bearer s3cr3t-k3y"
    written = b"".join(path.read_bytes() for path in make.folder.rglob("*") if path.is_file())
    assert b"s3cr3t" not in written
    assert "s3cr3t" not in generator.version + str(generator.usage)
