"""What is read from answers in GREEN's format: as the official code reads it, and what of that is a number."""

import json
from pathlib import Path

import pytest

from chexalign.ids import file_sha256
from chexalign.judges.green_parse import clean_answer, green_compat, parse_green

GOLDEN = Path(__file__).parent / "judges"
ANSWERS = json.loads((GOLDEN / "green_answers.json").read_text(encoding="utf-8"))
OFFICIAL = json.loads((GOLDEN / "green.json").read_text(encoding="utf-8"))

# Those that are well formed; the official code scores the first two of them otherwise, as a blank line ends a section.
WELL_FORMED = {
    "blank line inside the section": 0.6,
    "blank line with spaces inside": 0.6,
    "good": 4 / 6,
    "good with fences and indents": 4 / 6,
    "good with end marks": 4 / 6,
    "good with crlf": 4 / 6,
    "echoed chat": 4 / 6,
    "no errors at all": 1.0,
    "no clinically significant errors": 1.0,
    "nothing matches": 0.0,
    "nothing matches and no errors": 0.0,
    "numbers instead of letters": 0.5,
    "twelve findings": 12 / 22,
    "letters out of order": 0.5,
    "two counts in a line": 0.75,
    "matched with spaces before": 1.0,
    "not english": 2 / 3,
    "control characters": 2 / 3,
    "sections in another order": 2 / 3,
}
# What the official code makes of answers that are not, as measured before: errors are lost, or all is 0.
KNOWN_MISTAKES = {
    "significant section missing": 1.0,
    "matched section missing": 0.0,
    "cut before the matched count": 0.0,
    "colon instead of period": 0.75,
    "blank line inside the section": 0.75,
    "note instead of no": 1.0,
    "non- at the start": 1.0,
    "same letter twice": 0.5,
    "matched count not first": 0.0,
    "empty": 0.0,
    "prose": 0.0,
}


def test_the_golden_file_belongs_to_the_answers():
    assert OFFICIAL["input_sha256"] == file_sha256(GOLDEN / "green_answers.json"), "run bench/golden_green.py again"
    assert OFFICIAL["answers"].keys() == ANSWERS.keys()
    assert len(ANSWERS) >= 50


@pytest.mark.parametrize("name", ANSWERS)
def test_compat_equals_the_official_code(name):
    found = green_compat(ANSWERS[name])
    expected = OFFICIAL["answers"][name]
    assert [found.value, list(found.significant), list(found.insignificant), found.matched] == expected


@pytest.mark.parametrize("name", KNOWN_MISTAKES)
def test_the_mistakes_of_the_official_code_are_kept(name):
    assert green_compat(ANSWERS[name]).value == KNOWN_MISTAKES[name]


@pytest.mark.parametrize("name", ANSWERS)
def test_strict_is_a_number_only_for_well_formed_answers(name):
    parsed = parse_green(ANSWERS[name])
    assert parsed.value == WELL_FORMED.get(name)
    assert (parsed.reason is None) == (name in WELL_FORMED)


@pytest.mark.parametrize("name", sorted(WELL_FORMED)[2:])
def test_strict_equals_the_official_code_on_well_formed_answers(name):
    assert parse_green(ANSWERS[name]).value == OFFICIAL["answers"][name][0]


def test_counts_and_sentences():
    parsed = parse_green(ANSWERS["good"])
    assert parsed.matched == 4
    assert parsed.findings == ("Cardiomegaly", "clear lungs", "no pneumothorax", "old rib fracture")
    assert parsed.significant == {"a": 0, "b": 1, "c": 0, "d": 1, "e": 0, "f": 0}
    assert parsed.insignificant == {"a": 0, "b": 0, "c": 2, "d": 0, "e": 0, "f": 0}
    assert parsed.sentences == {
        "significant.b": ("Small left pleural effusion",),
        "significant.d": ("Severe instead of mild cardiomegaly",),
        "insignificant.c": ("Granuloma in the upper lobe", "clip on the right"),
    }


def test_reasons_quote_nothing():
    for name, answer in ANSWERS.items():
        reason = parse_green(answer).reason or ""
        assert "\n" not in reason
        assert len(reason) < 120, name
        assert not any(word in reason for word in ("Nodule", "effusion", "Cardio", "pneumothorax")), name


@pytest.mark.parametrize("length", range(0, len(ANSWERS["good"]), 7))
def test_an_answer_that_is_cut_is_no_number_until_its_last_count_is_there(length):
    text = ANSWERS["good"]
    parsed = parse_green(text[:length])
    assert (parsed.value is None) == (length < text.index("4. Cardio") + 2)


def test_marks_of_the_chat_are_left_out():
    assert clean_answer("a</s><unk>b<|assistant|>c</s>") == "c"
