"""The form of a wrong answer: that of the right one, whatever a language model makes of it."""

from __future__ import annotations

import doctest
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexalign.data.answers import matches
from chexalign.mine.llm import prompt as llm_prompt
from chexalign.mine.llm.prompt import places_of
from chexalign.mine.llm.reply import KEYS, in_form_of, read_reply, schema_of
from chexalign.mine.records import Edit
from chexalign.types import Evidence, ImageRef, Question

IMAGE = ImageRef("x.png", "0" * 64, "frontal", 8, 8)
CLOSED = {"answer_type": "verify", "options": ("yes", "no"), "answers": ("no",)}
SIDE = {"answer_type": "choose", "options": ("left", "right", "both"), "answers": ("left",)}
LIST = {"answer_type": "query", "options": ("edema", "fracture", "mass"), "answers": ("edema", "mass")}
FREE = {"answer_type": "open", "options": (), "answers": ("cardiomegaly",)}


def question(rationale: str | None = None, **more: Any) -> Question:
    plain: dict[str, Any] = {"patient_id": "p", "study_id": "s", "task": "t", "part": "t", "kind": "basic", "text": "?"}
    plain |= {"images": (IMAGE,), "split": "train", "source": "made", "license": "CC0"}
    return Question(id="q", rationale=rationale, **(plain | more))


def test_examples() -> None:
    assert doctest.testmod(llm_prompt).failed == 0


@pytest.mark.parametrize(
    ("asked", "right", "answers", "written", "expected"),
    [
        # without a rationale: the answer alone, as the right one is written
        (SIDE, None, ("right",), "Whatever.", "(B) right"),
        (LIST, None, ("mass", "fracture"), "Whatever.", "mass, fracture"),
        (LIST, None, (), "Whatever.", "none"),
        (FREE, None, ("edema",), "Whatever.", "edema"),
        # the answer as a sentence of its own
        (CLOSED, "No. It is sharp.", ("yes",), "Yes. It is blunted.", "Yes. It is blunted."),
        (CLOSED, "No. It is sharp.", ("yes",), "it is blunted", "Yes. It is blunted."),
        (CLOSED, "No. It is sharp.", ("yes",), "Yes, it is blunted.", "Yes. It is blunted."),
        (CLOSED, "No. It is sharp.", ("yes",), "YES - it is blunted!", "Yes. It is blunted."),
        (CLOSED, "no. it is sharp", ("yes",), "It is blunted.", "yes. it is blunted"),
        (CLOSED, "no. it is sharp", ("yes",), "AP view, blunted", "yes. AP view, blunted"),
        (CLOSED, "No. It is sharp.", ("yes",), "No. It is blunted.", None),
        (SIDE, "Left. A mass is there.", ("both",), "Masses are there.", "Both. Masses are there."),
        # a list, and nothing else
        (LIST, "Edema and mass.", ("edema", "fracture"), "There are edema and fracture.", "Edema and fracture."),
        (LIST, "Edema, mass.", ("edema", "fracture"), "edema; fracture", "Edema, fracture."),
        (LIST, "Edema and mass.", (), "Nothing.", "None."),
        (FREE, "Cardiomegaly.", ("edema",), "It is edema.", "Edema."),
        # a right rationale that is not read as an answer: nor may the wrong one be read as right
        (CLOSED, "The angles are sharp.", ("yes",), "the angle is blunted", "The angle is blunted."),
        (CLOSED, "The angles are sharp.", ("yes",), "No.", None),
        (CLOSED, "The angles are sharp.", ("yes",), "...", None),
        (CLOSED, " The angles are sharp. ", ("yes",), "one is blunted", "One is blunted."),
    ],
)
def test_a_wrong_answer_is_written_as_the_right_one(
    asked: dict[str, Any], right: str | None, answers: tuple[str, ...], written: str, expected: str | None
) -> None:
    assert in_form_of(question(right, **asked), answers, written) == expected


@pytest.mark.parametrize(
    ("asked", "said", "answers"),
    [
        (SIDE, "(B)", ("right",)),
        (SIDE, "B. right", ("right",)),
        (SIDE, "The answer is RIGHT.", ("right",)),
        (LIST, "mass, fracture", ("fracture", "mass")),
        (LIST, "none", ()),
        (FREE, " Pulmonary  edema. ", ("Pulmonary edema",)),
        ({"answer_type": "query", "options": (), "answers": ("a", "b")}, "a and c", ("a", "c")),
        ({"answer_type": "verify", "options": (), "answers": ("yes",)}, "No", ("no",)),
    ],
)
def test_an_option_by_another_name_is_that_option(asked: dict[str, Any], said: str, answers: tuple[str, ...]) -> None:
    found = read_reply(json.dumps({"answer": said, "rationale": "x", "edit": "side"}), question(**asked), whole=True)
    assert isinstance(found, Edit)
    assert (found.answers, found.kind, found.origin) == (answers, "side", "llm")


@pytest.mark.parametrize("wrap", ["%s", " %s\n", "```json\n%s\n```", "```\n%s\n```\n", "<think>Hm {}.</think>\n%s"])
def test_fences_and_reasoning_are_taken_off(wrap: str) -> None:
    reply = wrap % json.dumps({"answer": "right", "rationale": "x", "edit": "side"})
    assert isinstance(read_reply(reply, question(**SIDE), whole=True), Edit)


def test_the_schema_allows_wrong_options_only_where_there_is_one_answer() -> None:
    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = schema_of(question(**asked))["json_schema"]["schema"]["properties"]["answer"]
        return found

    assert answer(SIDE)["enum"] == ["right", "both"]
    assert answer({"answer_type": "verify", "options": (), "answers": ("yes",)})["enum"] == ["no"]
    assert "enum" not in answer(LIST)
    assert "enum" not in answer(FREE)


def test_evidence_in_words() -> None:
    evidence = (Evidence("box", "mass", image=0, box=(0.1, 0.2, 0.3, 0.4)), Evidence("code", "Edema/mild"))
    found = places_of(question(**LIST, evidence=evidence))
    assert found["evidence"].startswith("- mass: present, from 10% to 30% of the image's width")
    assert found["evidence"].endswith("\n- Edema/mild: present")
    assert (found["options"], found["answer"]) == ("- edema\n- fracture\n- mass", "edema, mass")
    assert (places_of(question(**FREE))["options"], places_of(question(**FREE))["evidence"]) == ("(none given)",) * 2


TEXTS = st.text(max_size=30) | st.sampled_from(
    ["yes", "no", "(A)", "Left. x", "none", "edema and mass", "\ud800", "side"]
)
RIGHTS = st.none() | st.sampled_from(["No. It is sharp.", "Left.", "Edema and mass.", "x"])
ASKED = st.sampled_from([CLOSED, SIDE, LIST, FREE])


@given(TEXTS, ASKED, st.booleans())
def test_any_reply_is_an_edit_or_a_reason(text: str, asked: dict[str, Any], whole: bool) -> None:
    assert isinstance(read_reply(text, question(**asked), whole=whole), str)


@given(ASKED, RIGHTS, TEXTS, TEXTS, st.sampled_from(["side", "negation", "own", "x"]))
def test_an_edit_is_not_right_and_can_be_written(
    asked: dict[str, Any], right: str | None, answer: str, rationale: str, edit: str
) -> None:
    about = question(right, **asked)
    found = read_reply(json.dumps(dict(zip(KEYS, (answer, rationale, edit), strict=True))), about, whole=True)
    if isinstance(found, Edit):
        assert found.text.encode()
        assert found.text == found.text.strip()
        assert matches(about.answer_type, found.text, about.answers, about.options) is not True
        assert set(found.answers) != set(about.answers)
        assert not about.options or set(found.answers) <= set(about.options)
