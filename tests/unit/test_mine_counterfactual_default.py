"""The rules on the built-in questions of chests whose codes are written by hand: nearly all get a fair wrong answer."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from chexalign import ids
from chexalign.data.answers import answer_text, matches
from chexalign.demo.questions import make_items
from chexalign.mine.edits.others import Others
from chexalign.mine.edits.rules import RulesGenerator
from chexalign.mine.leakage import leakage
from chexalign.mine.records import Counterfactual
from chexalign.mine.verify import question_fault, verify
from chexalign.types import Question
from tests.unit.test_demo_questions import made_up_chests


@pytest.fixture(scope="module")
def questions():
    items, _ = make_items(made_up_chests(150), size_px=64)
    return [
        Question(
            id=ids.digest(item.study, draft.task, draft.name),
            patient_id=item.patient,
            study_id=item.study,
            split=item.split,
            images=(),
            source="hand",
            license="none",
            **{name: getattr(draft, name) for name in ("task", "part", "kind", "answer_type", "text", "options")},
            **{name: getattr(draft, name) for name in ("answers", "rationale", "evidence")},
        )
        for item in items
        for draft in item.drafts
    ]


@pytest.fixture(scope="module")
def found(questions):
    """For each question the first proposal that passes, or why there is none."""
    result = {}
    for question, proposals in zip(questions, RulesGenerator(1, Others.of(questions)).propose(questions), strict=True):
        chosen = answer_text(question)
        reason = question_fault(question, chosen) or proposals.failed
        passing = (e for e in proposals.edits if not reason and verify(question, chosen, e) is None)
        result[question.id] = next(passing, reason or "rejected")
    return result


def test_nearly_every_question_of_each_task_has_a_wrong_answer(questions, found):
    by_task = defaultdict(list)
    for question in questions:
        by_task[question.task, question.answer_type].append(not isinstance(found[question.id], str))
    assert len(by_task) == 15
    assert {key: sum(of) / len(of) for key, of in by_task.items() if sum(of) < 0.95 * len(of)} == {}


def test_no_right_answer_of_the_collection_contradicts_its_evidence(questions):
    assert [q.text for q in questions if question_fault(q, answer_text(q)) is not None] == []


def test_a_wrong_answer_keeps_the_sentences_and_every_kind_is_there(questions, found):
    kinds = Counter()
    for question in questions:
        edit = found[question.id]
        if isinstance(edit, str):
            continue
        kinds[edit.kind] += 1
        assert matches(question.answer_type, edit.text, question.answers, question.options) is False
        assert edit.text.count(".") == question.rationale.count(".")
    assert set(kinds) == {"negation", "finding", "side", "severity", "location", "attribute", "change"}


def test_length_tells_little_and_no_option_is_favored(questions, found):
    patients = {question.id: question.patient_id for question in questions}
    rows = [
        Counterfactual(q.id, answer_text(q), edit.text, edit.kind, edit.origin, edit.answers, 1)
        for q in questions
        if not isinstance(edit := found[q.id], str)
    ]
    estimates = {e.metric: e for e in leakage(rows, patients, split="train", seed=1, resamples=200)}
    assert abs(estimates["counterfactual.difference.words"].value) < 0.5
    assert 0.4 < estimates["counterfactual.longer_is_chosen.words"].value < 0.6
    assert estimates["counterfactual.origin.rules"].value == 1.0
    views = Counter(found[q.id].answers[0] for q in questions if q.task == "severity")
    assert max(views.values()) < 2 * min(views.values())
