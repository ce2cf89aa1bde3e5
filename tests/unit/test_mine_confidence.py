"""Confidence of answers: tokens of a policy, the span of the short answer, and what counts as right."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from chexalign.errors import UserError
from chexalign.mine.confidence import Answer, answer_all, confidence, rank_failures, read_answer
from chexalign.mine.span import answer_tokens
from chexalign.policy.base import Ask, AskError, Completion
from chexalign.policy.batching import Batches
from chexalign.store import Table
from chexalign.types import Question

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
    places = answer_tokens(question, texts)
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
    assert answer_tokens(question, ("", "é", ".")) == (1, 2)
    assert answer_tokens(replace(CHOOSE, options=("é", "a"), answers=("é",)), (" ", "", "é", ".")) == (2,)


@pytest.mark.parametrize(
    ("question", "text", "correct", "readable"),
    [
        (VERIFY, "No.", True, True),
        (VERIFY, "Yes.", False, True),
        (VERIFY, "No abnormality is normal", False, False),
        (VERIFY, "", False, False),
        (OPEN, "", False, False),
        (replace(LISTED, answers=()), "", False, False),  # nothing applies, but nothing was said either
        (replace(LISTED, answers=()), "None.", True, True),
        (LISTED, "edema, mass", False, True),
        (LISTED, "Edema", True, True),
        (FREE, "mass and edema", True, True),
        (CHOOSE, "left", False, True),
        (CHOOSE, "neither of them", False, False),
    ],
)
def test_what_is_right(question, text, correct, readable):
    found = read_answer(question, Completion(text, 1, -0.1, "stop", (-0.1,), (text,)))
    assert (found.correct, found.readable) == (correct, readable)


def test_aggregates_over_spans():
    answer = read_answer(VERIFY, completion(" No", ".", logps=[math.log(0.25), math.log(0.5)]))
    assert answer.answer_tokens == (0,)
    for aggregate, value in (("mean", 0.375), ("geometric_mean", math.sqrt(0.125)), ("minimum", 0.25)):
        assert confidence(answer, aggregate=aggregate, span="output") == pytest.approx(value)
        assert confidence(answer, aggregate=aggregate, span="answer") == pytest.approx(0.25)
    lost = replace(answer, answer_tokens=None)
    assert confidence(lost, aggregate="mean", span="answer") is None
    assert confidence(replace(answer, token_logps=()), aggregate="mean", span="output") is None
    sure = replace(answer, token_logps=(0.0,) * 3)
    assert confidence(sure, aggregate="mean", span="output") == 1.0


def test_tokens_that_do_not_spell_the_text_have_no_span():
    found = read_answer(VERIFY, Completion("No", 1, -0.5, "stop", (-0.5,), None))
    assert found.answer_tokens is None
    assert confidence(found, aggregate="minimum", span="output") == pytest.approx(math.exp(-0.5))


def answers(*rows):
    return [
        Answer(f"q{i}", "p", "basic", "x", "stop", correct, True, (logps,) if logps else (), (0,) if logps else None)
        for i, (correct, logps) in enumerate(rows)
    ]


def test_failures_are_ranked_by_confidence():
    rows = answers((False, -2.0), (True, -0.1), (False, -0.5), (False, -2.0), (False, None))
    wrong = rank_failures(rows, "most_confident_wrong", aggregate="mean", span="answer")
    assert (wrong.order, wrong.without_confidence) == ((2, 0, 3), 1)
    unsure = rank_failures(rows, "least_confident", aggregate="mean", span="output")
    assert (unsure.order, unsure.without_confidence) == ((0, 3, 2), 1)
    assert rank_failures([], "least_confident", aggregate="mean", span="output").order == ()


class Told:
    """A policy that says what it is told to, by prompt."""

    def __init__(self, said):
        self.said, self.decodings = said, []

    def generate(self, asks, *, decoding, seeds):
        self.decodings.append(decoding)
        for i, ask in enumerate(asks):
            if self.said[ask.prompt] is None:
                error = UserError("a", "b", "c")
                raise AskError(error, index=i, reason="image_unreadable")
        return [[self.said[ask.prompt]] for ask in asks]

    def batch_size(self, ask, *, decoding, draws):
        return 8

    def sampler(self, decoding):
        return "told"


def test_answers_come_in_the_order_of_questions_and_the_unanswerable_are_counted(tmp_path):
    policy = Told({"first": completion(" Yes", "."), "2": None, "the third": completion(" No", ".")})
    batches = Batches(policy, 2)
    asks = [Ask(prompt, ()) for prompt in policy.said]
    found = answer_all(batches, [VERIFY, replace(VERIFY, id="q2"), replace(VERIFY, id="q3")], asks, max_new_tokens=4)
    assert [a and (a.question_id, a.correct) for a in found] == [("q1", False), None, ("q3", True)]
    assert batches.dropped == {"image_unreadable": 1}
    assert {(d.temperature, d.token_logps, d.max_new_tokens) for d in policy.decodings} == {(0.0, True, 4)}
    rows = [a for a in found if a] + [replace(found[0], answer_tokens=None)]
    table = Table(tmp_path / "answers", Answer)
    table.write_part(0, rows, fingerprint="f")
    assert table.part_rows(0) == rows


def test_a_policy_without_log_probs_or_with_those_of_certainty_is_refused():
    silent = Told({"a": Completion("No", 1, None, "stop")})
    with pytest.raises(UserError, match="no log-probs"):
        answer_all(Batches(silent, 1), [VERIFY], [Ask("a", ())], max_new_tokens=4)
    certain = Told({"a": completion(" No", ".", logps=[0.0, 0.0])})
    with pytest.raises(UserError, match="certain"):
        answer_all(Batches(certain, 1), [VERIFY], [Ask("a", ())], max_new_tokens=4)
