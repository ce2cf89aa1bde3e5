"""Whatever a model writes: what is read is one of the options, said in the text, in whatever order they were asked."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chexalign.data import loose
from chexalign.data.answers import YES_NO, ask_text, matches, ordered, plain, read_choice, read_set
from chexalign.errors import UserError
from chexalign.types import ImageRef, Question

WORDS = st.sampled_from(
    ["no", "yes", "abnormality", "normal", "a", "A", "B", "(A)", "(B)", "(Z)", "left", "right", "Answer:", "and", "or",
     ".", ",", "\n", "not", "edema", "none", "<answer>", "</answer>", "**", "ß", "ﬁ", "\x00", "1."]
)  # fmt: skip
TEXT = st.one_of(st.lists(WORDS, max_size=8).map(" ".join), st.text(max_size=40))
OPTION = st.text("abcdefg hij", min_size=2, max_size=12).filter(lambda t: len(plain(t)) > 1 and " and " not in f" {t} ")
OPTIONS = st.lists(OPTION, min_size=2, max_size=6, unique_by=plain).map(tuple)
IMAGE = ImageRef("a.png", "0", "frontal", 8, 8)


@given(TEXT, OPTIONS)
def test_reading_never_fails_and_never_invents(text, options):
    chosen, listed = read_choice(text, options), read_set(text, options)
    assert chosen is None or chosen in options
    assert listed is None or listed <= set(options)
    for kind in ("verify", "choose", "query", "open"):
        for given_options in ((), options):
            assert matches(kind, text, options[:1], given_options) in (True, False, None)


@given(TEXT, OPTIONS)
def test_where_the_benchmark_reads_a_letter_and_this_reads_too_they_agree(text, options):
    named = re.findall(r"\(([A-Z])\)", text)  # the benchmark takes the first, and guesses where there is none
    chosen = read_choice(text, options)
    if named and chosen is not None and plain(text) not in map(plain, options):
        assert options.index(chosen) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ".index(named[0])


@given(OPTIONS, st.data())
def test_a_letter_or_a_text_is_read_whatever_the_order(options, data):
    question = Question(
        "q", "p", "s", "vqa", "x", "basic", "choose", "Which?", options, options[:1], (IMAGE,), "test", "x", "CC0"
    )
    asked = ordered(question, data.draw(st.integers(0, 9)))
    assert sorted(asked.options) == sorted(options)
    place = asked.options.index(options[0])
    letter = "ABCDEF"[place]
    assert f"({letter}) {options[0]}" in ask_text(asked)
    for text in (f"({letter})", f"{letter}.", options[0], options[0].upper(), f"({letter}) {options[0]}."):
        assert read_choice(text, asked.options) == options[0]
        assert matches("choose", text, question.answers, asked.options) is True


@given(OPTIONS, st.data())
def test_a_list_of_options_is_read_in_any_order(options, data):
    chosen = data.draw(st.lists(st.sampled_from(options), min_size=1, unique=True))
    assert read_set(", ".join(chosen), options) == frozenset(chosen)
    assert read_set("\n".join(f"- {option}" for option in chosen), options) == frozenset(chosen)


@given(st.text("abno yes", max_size=12))
def test_a_word_is_never_found_inside_another(text):
    if read_choice(text, YES_NO) is not None:
        assert plain(text) in ("yes", "no", "a", "b")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=6), st.integers(1, 9), st.sampled_from([None, 1]))
def test_a_list_is_read_in_blocks_as_it_is_read_at_once(values, block, indent):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_text(json.dumps(values, indent=indent))
        before, loose._BLOCK_CHARS = loose._BLOCK_CHARS, block
        try:
            assert list(loose.json_rows(path, "x")) == values == loose.read_json(path, "x")
        finally:
            loose._BLOCK_CHARS = before


@given(st.one_of(st.text('[]{},:"1e \n-', max_size=12), st.just('[{"a": 1}')).map(str.encode) | st.binary(max_size=12))
def test_a_damaged_list_is_an_error_for_users_alone(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_bytes(data)
        try:
            rows = list(loose.json_rows(path, "x"))
        except UserError:
            return
        assert isinstance(rows, list)
