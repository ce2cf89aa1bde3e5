"""Confidence of answers: tokens of a policy, the span of the short answer, and what counts as right."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from chexalign.data.answers import ask_text, matches, read_as
from chexalign.errors import UserError
from chexalign.evaluate.answers import AnswersWorker, answer, named
from chexalign.evaluate.confidence import confidence, rank_failures
from chexalign.evaluate.span import answer_tokens
from chexalign.ids import file_sha256
from chexalign.policy.base import AskError, Completion, Decoding
from chexalign.recipe import QuestionsSpec
from chexalign.run_folder import RunFolder
from chexalign.store import Table
from chexalign.types import Answer, ImageRef, Question
from tests.compared_runs import finished

VERIFY = Question(
    id="q1",
    patient_id="p1",
    study_id="s1",
    task="vqa",
    part="presence",
    kind="basic",
    answer_type="verify",
    text="Is there an effusion?",
    options=(),
    answers=("no",),
    images=(),
    split="train",
    source="hand",
    license="CC0",
)
CHOOSE = replace(VERIFY, id="q2", answer_type="choose", options=("left", "right side"), answers=("right side",))
LISTED = replace(VERIFY, id="q3", answer_type="query", options=("edema", "mass", "small effusion"), answers=("edema",))
FREE = replace(VERIFY, id="q4", answer_type="query", answers=("edema", "mass"))
OPEN = replace(VERIFY, id="q5", answer_type="open", answers=("upper lobe",))


def completion(*texts, logps=None):
    logps = tuple(logps or [-0.1 * (i + 1) for i in range(len(texts))])
    return Completion("".join(texts).strip(), len(texts), sum(logps), "stop", logps, texts)


def spelled(question, *texts):
    """The characters of the span, or None."""
    read = read_as(question.answer_type, "".join(texts), question.options)
    places = None if read is None else answer_tokens(question, texts, read)
    return None if places is None else "".join(texts[i] for i in places)


@pytest.mark.parametrize(
    ("question", "texts", "span"),
    [
        (VERIFY, (" No", ",", " nothing", " there", ".", ""), " No"),
        (VERIFY, (" N", "o", ".", " Clear", "."), " No"),
        (VERIFY, (" No", " abnormality", "."), None),  # neither yes nor no, and no "no" inside words
        (VERIFY, ("",), None),
        (CHOOSE, (" The", " answer", " is", " right", " side", "."), " right side"),
        (CHOOSE, ("(", "B", ")", ""), "(B)"),
        (CHOOSE, (" (B", ")", " right", "  ", "side"), " right  side"),
        (CHOOSE, (" both",), None),
        (LISTED, (" Edema", " and", " small", " eff", "usion", "."), " Edema small effusion"),
        (LISTED, (" none", ".", ""), " none."),
        (LISTED, (" Edema", " and", " pus"), None),
        (FREE, (" Mass", ",", " edema", "."), " Mass edema"),
        (OPEN, (" in", " the", " upper", " lobe", ""), " in the upper lobe"),
        (OPEN, ("<answer>", "upper", " lobe", "</answer>"), "upper lobe"),
        (VERIFY, ("<think>", " no", " yes", "</think>", "<answer>", "no", "</answer>"), "no"),
        (VERIFY, (" ", "no"), "no"),
    ],
)
def test_the_tokens_that_spell_the_short_answer(question, texts, span):
    assert spelled(question, *texts) == span


def test_a_character_of_several_tokens_belongs_to_the_token_that_has_it():
    question = replace(OPEN, answers=("é",))
    assert answer_tokens(question, ("", "é", "."), ("é",)) == (1, 2)
    assert answer_tokens(replace(CHOOSE, options=("é", "a"), answers=("é",)), (" ", "", "é", "."), ("é",)) == (2,)


@pytest.mark.parametrize(
    ("question", "text", "right"),
    [
        (VERIFY, "No.", True),
        (VERIFY, "Yes.", False),
        (VERIFY, "No abnormality is normal", None),
        (VERIFY, "", None),
        (OPEN, "", None),
        (OPEN, "<answer> </answer>", None),
        (replace(LISTED, answers=()), "", None),  # nothing applies, but nothing was said either
        (replace(LISTED, answers=()), "None.", True),
        (replace(FREE, answers=()), "<answer></answer>", None),
        (replace(FREE, answers=()), " and, & ", None),
        (replace(FREE, answers=()), "None.", True),
        (LISTED, "edema, mass", False),
        (LISTED, "Edema", True),
        (FREE, "mass and edema", True),
        (CHOOSE, "left", False),
        (CHOOSE, "neither of them", None),
    ],
)
def test_what_is_right(question, text, right):
    found = answer(question, "sft", 0, Completion(text, 1, -0.1, "stop", (-0.1,), (text,)))
    assert found.right is right
    assert matches(question.answer_type, text, question.answers, question.options) is right


def test_aggregates_over_spans():
    found = answer(VERIFY, "sft", 0, completion(" No", ".", logps=[math.log(0.25), math.log(0.5)]))
    assert found.answer_tokens == (0,)
    for aggregate, value in (("mean", 0.375), ("geometric_mean", math.sqrt(0.125)), ("minimum", 0.25)):
        assert confidence(found, aggregate=aggregate, span="output") == pytest.approx(value)
        assert confidence(found, aggregate=aggregate, span="answer") == pytest.approx(0.25)
    lost = replace(found, answer_tokens=None)
    assert confidence(lost, aggregate="mean", span="answer") is None
    for nothing in ((), None):
        assert confidence(replace(lost, token_logps=nothing), aggregate="mean", span="output") is None
    sure = replace(found, token_logps=(0.0,) * 3)
    assert confidence(sure, aggregate="mean", span="output") == 1.0


def test_tokens_that_do_not_spell_the_text_have_no_span():
    found = answer(VERIFY, "sft", 0, Completion("No", 1, -0.5, "stop", (-0.5,), None))
    assert found.answer_tokens is None
    assert confidence(found, aggregate="minimum", span="output") == pytest.approx(math.exp(-0.5))


def answers(*rows):
    return [
        Answer(f"q{i}", "sft", "generation", 0, "x", 1, read, right, (logps,), (0,) if read else None)
        for i, (right, logps) in enumerate(rows)
        for read in [None if right is None else ("x",)]
    ]


def test_failures_are_ranked_by_confidence():
    rows = answers((False, -2.0), (True, -0.1), (False, -0.5), (False, -2.0), (None, -0.2))
    wrong = rank_failures(rows, "most_confident_wrong", aggregate="mean", span="answer")
    assert (wrong.order, wrong.without_confidence) == ((2, 0, 3), 1)
    unsure = rank_failures(rows, "least_confident", aggregate="mean", span="output")
    assert (unsure.order, unsure.without_confidence) == ((0, 3, 2, 4), 0)
    assert rank_failures([], "least_confident", aggregate="mean", span="output").order == ()


class Told:
    """A policy that says what it is told to, by prompt; opening it gives itself."""

    def __init__(self, said):
        self.said, self.decodings = said, []

    def open(self):
        return self

    def generate(self, asks, *, decoding, seeds):
        self.decodings.append(decoding)
        for i, ask in enumerate(asks):
            if self.said[ask.prompt] is None:
                error = UserError("a", "b", "c")
                raise AskError(error, index=i, reason="image_unreadable")
        return [[self.said[ask.prompt]] for ask in asks]

    def batch_size(self, ask, *, decoding, draws):
        return 8


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "x.png"
    Image.new("L", (8, 8)).save(path)
    image = ImageRef(str(path), file_sha256(path), "frontal", 8, 8)
    return [replace(VERIFY, id=f"q{i}", text=f"Is there an effusion, case {i}?", images=(image,)) for i in range(4)]


def made(tmp_path, questions, said, **more: Any):
    """What a worker answers that asks the last three of four questions, of whatever split."""
    run = RunFolder(tmp_path / "run")
    finished(run.questions("hand"), questions)
    policy = Told({ask_text(q): one for q, one in zip(questions[1:], said, strict=True)})
    only = [q.id for q in reversed(questions[1:])]
    worker = AnswersWorker(
        run, "hand", "sft", policy, "test", Decoding(4), part_size=8, max_images=1, confidence=True, only=only, **more
    )
    worker.setup()
    return policy, worker.part(0)


def test_answers_carry_log_probs_and_the_unanswerable_are_counted(tmp_path, questions):
    policy, part = made(tmp_path, questions, [completion(" Yes", "."), None, completion(" No", ".")])
    assert [(a.question_id, a.right, a.token_logps, a.answer_tokens) for a in part.rows] == [
        ("q1", False, (-0.1, -0.2), (0,)),
        ("q3", True, (-0.1, -0.2), (0,)),
    ]
    assert part.dropped == {"image_unreadable": 1}
    assert {(d.temperature, d.token_logps, d.max_new_tokens) for d in policy.decodings} == {(0.0, True, 4)}
    rows = [*part.rows, replace(part.rows[0], answer_tokens=None)]
    table = Table(tmp_path / "answers", Answer)
    table.write_part(0, rows, fingerprint="f")
    assert table.part_rows(0) == rows


def test_questions_that_are_named_must_be_there(tmp_path, questions):
    run = RunFolder(tmp_path / "run")
    finished(run.questions("hand"), questions)
    with pytest.raises(UserError, match="none with the id q9"):
        named(run, "hand", ["q1", "q9"])


def test_answers_of_an_older_version_are_read(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = Answer("q1", "sft", "generation", 0, "No", 1, ("no",), True)
    table = Table(tmp_path / "answers", Answer)
    table.write_part(0, [row], fingerprint="f")
    old = pq.read_table(table.part_path(0)).drop_columns(["token_logps", "answer_tokens"])
    assert isinstance(old, pa.Table)
    pq.write_table(old, table.part_path(0))
    assert table.part_rows(0) == [row]


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (Completion("No", 1, None, "stop"), "no log-probs"),
        (completion(" No", ".", logps=[0.0, 0.0]), "certain"),
    ],
)
def test_a_policy_without_log_probs_or_with_those_of_certainty_is_refused(tmp_path, questions, said, complaint):
    with pytest.raises(UserError, match=complaint):
        made(tmp_path, questions, [said] * 3)


def test_a_recipe_names_how_confidence_is_made_or_asks_for_none():
    collections = [{"source": "rsna"}]
    assert "confidence" not in QuestionsSpec(collections=collections).model_dump(mode="json")
    block = {"aggregate": "minimum", "span": "answer"}
    asked = QuestionsSpec.model_validate({"collections": collections, "confidence": block})
    assert asked.model_dump(mode="json")["confidence"] == block
    with pytest.raises(ValidationError, match="is that of written answers"):
        QuestionsSpec.model_validate({"collections": collections, "scoring": ["likelihood"], "confidence": block})
    with pytest.raises(ValidationError, match="span"):
        QuestionsSpec.model_validate({"collections": collections, "confidence": {"aggregate": "mean"}})
