"""Records refuse what cannot be true."""

import dataclasses

import pytest

from chexalign import types
from chexalign.types import Estimate, ImageRef, Pair, Score, Study

STUDY = {
    "id": "s1",
    "patient_id": "p1",
    "images": (),
    "indication": None,
    "reference": "The lungs are clear.",
    "impression": None,
    "codes": (),
    "split": "test",
    "source": "hand",
    "license": "CC0",
}
ESTIMATE = {
    "metric": "words",
    "policy": "dpo",
    "split": "test",
    "level": 0.9,
    "n": 3,
    "n_clusters": 3,
    "method": "none",
}
RECORDS = [c for c in vars(types).values() if dataclasses.is_dataclass(c)]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_every_record_is_frozen_and_has_slots(record):
    assert record.__dataclass_params__.frozen
    assert "__slots__" in vars(record)


@pytest.mark.parametrize("change", [{"id": ""}, {"reference": ""}, {"reference": " \n\t"}])
def test_a_study_needs_an_id_and_a_reference(change):
    with pytest.raises(ValueError, match="Study"):
        Study(**(STUDY | change))


def test_the_error_of_a_study_names_its_id_and_no_text():
    with pytest.raises(ValueError, match="s1") as caught:
        Study(**(STUDY | {"reference": " ", "indication": "Cough for a week"}))
    assert "Cough" not in str(caught.value)


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (-1, 10)])
def test_an_image_has_a_size(size):
    with pytest.raises(ValueError, match="positive"):
        ImageRef("a.png", "00", "frontal", *size)


@pytest.mark.parametrize(
    ("value", "status"), [(None, "ok"), (0.5, "unparsed"), (0.0, "error"), (float("nan"), "ok"), (float("inf"), "ok")]
)
def test_a_score_is_a_finite_number_or_has_a_status(value, status):
    with pytest.raises(ValueError, match="Score"):
        Score("c", "judge@1", value, status=status)


def test_an_unscored_candidate_is_not_zero():
    assert Score("c", "judge@1", None, status="refused", reason="too long").value is None


def test_a_pair_has_two_candidates():
    with pytest.raises(ValueError, match="itself"):
        Pair("p", "prompt", "c1", "c1", 0.5, 3, "judge@1", "best_worst")


@pytest.mark.parametrize(
    ("low", "high", "excludes"), [(0.1, 0.3, True), (-0.3, -0.1, True), (-0.1, 0.3, False), (0.0, 0.3, False)]
)
def test_an_interval_excludes_zero_when_it_lies_on_one_side(low, high, excludes):
    assert Estimate(value=0.1, low=low, high=high, **ESTIMATE).excludes_zero is excludes


def test_without_an_interval_nothing_is_excluded():
    assert not Estimate(value=0.1, low=None, high=None, **ESTIMATE).excludes_zero


def test_half_an_interval_is_refused():
    with pytest.raises(ValueError, match="together"):
        Estimate(value=0.1, low=0.0, high=None, **ESTIMATE)


QUESTION = {
    "id": "q1",
    "patient_id": "p1",
    "study_id": "s1",
    "task": "view",
    "part": "all",
    "kind": "basic",
    "answer_type": "choose",
    "text": "Which view is this?",
    "options": ("PA", "lateral"),
    "answers": ("PA",),
    "images": (),
    "split": "test",
    "source": "hand",
    "license": "CC0",
}


@pytest.mark.parametrize(
    "change", [{"id": ""}, {"text": " "}, {"answers": ("oblique",)}, {"options": ("PA",)}, {"options": ()}]
)
def test_a_question_needs_a_text_and_answers_among_its_options(change):
    assert types.Question(**QUESTION).answers == ("PA",)
    with pytest.raises(ValueError, match="Question"):
        types.Question(**{**QUESTION, **change})


@pytest.mark.parametrize("box", [(0.1, 0.1, 0.1, 0.5), (0.1, 0.5, 0.6, 0.2), (-0.1, 0, 1, 1), (0, 0, 1, 1.01)])
def test_a_box_lies_inside_the_image(box):
    assert types.Evidence("box", "nodule", image=0, box=(0, 0, 1, 1)).box == (0, 0, 1, 1)
    with pytest.raises(ValueError, match="Evidence"):
        types.Evidence("box", "nodule", image=0, box=box)


def test_only_a_box_has_bounds():
    with pytest.raises(ValueError, match="Evidence"):
        types.Evidence("label", "nodule", box=(0, 0, 1, 1))
    with pytest.raises(ValueError, match="Evidence"):
        types.Evidence("box", "nodule")
