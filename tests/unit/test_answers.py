"""What a free answer is read as, and what it is not."""

import doctest
from dataclasses import replace

import pytest

from chexalign.data import answers
from chexalign.data.answers import ask_text, atoms, matches, ordered, plain, read_choice, read_set
from chexalign.types import ImageRef, Question

SIDES = ("left side", "right side", "both sides")
YES_NO = ("yes", "no")


def question(answer_type="choose", options=SIDES, right=("left side",)):
    image = ImageRef("a.png", "0", "frontal", 8, 8)
    return Question(
        "q1",
        "p",
        "s",
        "vqa",
        "side",
        "basic",
        answer_type,
        "Where is it?",
        options,
        right,
        (image,),
        "test",
        "x",
        "CC0",
    )


def test_examples():
    assert doctest.testmod(answers).failed == 0


@pytest.mark.parametrize(
    "text",
    ["(B)", "B", "b", "B.", "(B) right side", "B. right side", "B) right side", "Answer: B", "The answer is (B).",
     "**B**", "Right side.", "The correct answer is: right side", "right  SIDE", "B: right side", "Option B",
     "right side. The vessels are on that side.", "<answer>B</answer>", "I think left, but <answer>right side</answer>",
     "The opacity is best seen there, so (B)."],
)  # fmt: skip
def test_one_option_is_read(text):
    assert read_choice(text, SIDES) == "right side"


@pytest.mark.parametrize(
    "text",
    ["", "(A) or (B)", "A, B", "A and B", "(E)", "D", "right", "side", "left side or right side", "not (B)",
     "C is not (A)", "(A) right side", "The side is right.", "A small effusion", "The answer is A small one",
     "effusion(s)", "B right", "left side. right side.", "<answer>A</answer><answer>B</answer>",
     "Options: (A) left side, (B) right side", "brightside"],
)  # fmt: skip
def test_what_means_two_or_nothing_is_not_read(text):
    assert read_choice(text, SIDES) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Yes.", "yes"),
        ("No, the lungs are clear.", "no"),
        ("Yes, (A)", "yes"),
        ("No, (A)", None),
        ("no abnormality", None),
        ("abnormality", None),
        ("Not seen", None),
        ("There is no effusion", None),
        ("yes and no", None),
        ("Yes. No.", None),
        ("Yesterday", None),
        ("A", "yes"),
    ],
)
def test_yes_and_no_are_words_of_their_own(text, meant):
    assert read_choice(text, YES_NO) == meant


def test_an_option_that_is_a_letter_is_no_letter_of_another():
    assert read_choice("F", ("f", "m")) == "f"
    assert read_choice("A", ("b", "a")) is None
    assert read_choice("A", ("a", "b")) == "a"


def test_options_that_read_alike_are_not_told_apart_by_text():
    assert read_choice("Edema", ("edema", "Edema.", "mass")) is None
    assert read_choice("(C)", ("edema", "Edema.", "mass")) == "mass"


FINDINGS = ("edema", "pleural effusion", "fractures, bone", "lung and pleura", "no finding")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("edema", {"edema"}),
        ("Edema, pleural effusion", {"edema", "pleural effusion"}),
        ("- edema\n- fractures, bone", {"edema", "fractures, bone"}),
        ("Lung and pleura and edema.", {"lung and pleura", "edema"}),
        ("(A), (C)", {"edema", "fractures, bone"}),
        ("A and B", {"edema", "pleural effusion"}),
        ("none", set()),
        ("No finding", {"no finding"}),
        ("edema, cats", None),
        ("effusion", None),
        ("no edema", None),
        ("A, F", None),
        ("", None),
    ],
)
def test_sets_are_read_whole(text, meant):
    assert read_set(text, FINDINGS) == meant


@pytest.mark.parametrize(
    ("kind", "text", "right", "options", "verdict"),
    [
        ("verify", "No.", ("no",), (), True),
        ("verify", "Yes, small", ("no",), YES_NO, False),
        ("verify", "normal", ("no",), YES_NO, None),
        ("choose", "(B)", ("right side",), SIDES, True),
        ("choose", "who knows", ("right side",), SIDES, None),
        ("query", "edema and pleural effusion", ("pleural effusion", "edema"), FINDINGS, True),
        ("query", "edema", ("pleural effusion", "edema"), FINDINGS, False),
        ("query", "none", (), FINDINGS, True),
        ("query", "mass, left lung", ("left lung", "mass"), (), True),
        ("query", "nothing", (), (), True),
        ("query", "mass", (), (), False),
        ("open", "Left lung.", ("left lung",), (), True),
        ("open", "the left lung", ("left lung",), (), False),
        ("open", "left lung, mass", ("left lung", "mass"), (), True),
        ("open", " ", ("left lung",), (), None),
    ],
)
def test_right_wrong_and_unread(kind, text, right, options, verdict):
    assert matches(kind, text, right, options) is verdict


def test_the_form_of_the_benchmark():
    assert ask_text(question()) == (
        "Where is it?\nOptions: (A) left side, (B) right side, (C) both sides\n"
        "Directly answer the question by choosing one option: (A), (B), (C)."
    )
    assert ask_text(replace(question(), options=(), answer_type="open", answers=("there",))) == "Where is it?"
    assert "Options: left side; right side" in ask_text(question("query"))


def test_orders_are_fixed_and_differ():
    orders = [ordered(question(), n).options for n in range(30)]
    assert orders[0] == SIDES
    assert len(set(orders)) == 6
    assert orders == [ordered(question(), n).options for n in range(30)]
    other = [ordered(replace(question(), id="q2"), n).options for n in range(30)]
    assert other != orders


def test_plain_and_atoms():
    assert plain("«Left»") == "«left»"
    assert plain("ﬁne,  LUNGS.") == "fine, lungs"
    assert atoms("1. a mass\n2) edema & air") == ["a mass", "edema", "air"]
