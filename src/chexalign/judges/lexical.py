"""Judges that compare words: ROUGE-L and BLEU-4. Both measure wording, not clinical agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.normalize import clean

# Bytes are cut many times faster than text is searched; what is no ASCII letter or digit becomes a blank.
_KEPT = b"abcdefghijklmnopqrstuvwxyz0123456789"
_OTHERS_BLANK = bytes(byte if byte in _KEPT else ord(" ") for byte in range(256))
EMPTY_REFERENCE = "the reference is empty after cleaning"


def tokens(cleaned: str) -> list[bytes]:
    """The runs of a-z and 0-9 of a text in lower case."""
    return cleaned.encode("ascii", "replace").translate(_OTHERS_BLANK).split()


def _each_distinct(pairs: Sequence[TextPair], judge: Callable[[str, str], Judgement]) -> list[Judgement]:
    """Judge each distinct pair once, on cleaned text."""
    seen: dict[TextPair, Judgement] = {}
    for pair in pairs:
        if pair not in seen:
            reference = clean(pair.reference)
            seen[pair] = (
                judge(clean(pair.candidate), reference)
                if reference
                else Judgement(None, status="error", reason=EMPTY_REFERENCE)
            )
    return [seen[pair] for pair in pairs]


class RougeLJudge:
    """ROUGE-L: F1 of the longest common subsequence of words, in [0, 1]; parts hold precision and recall.

    Tokens are the runs of a-z and 0-9 of the lower-cased text, without stemming. An empty candidate scores 0.
    A reference without any token is an error.

    Source: Lin 2004; equal to rouge-score 0.1.2 (`rougeL`, `use_stemmer=False`) on the cleaned texts.
    """

    name = "rouge_l"
    version = "1"
    describe: ClassVar[dict[str, str]] = {
        "license": "Apache-2.0 (this package)",
        "needs": "nothing more",
        "cost": "next to nothing",
    }

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """One judgement per pair, in order; each distinct text is cut into words once."""
        from rapidfuzz.distance import LCSseq
        from rapidfuzz.process import cpdist

        spelled = _Spelling()
        sides = [(spelled[pair.candidate], spelled[pair.reference]) for pair in pairs]
        if not sides:
            return []
        candidates, references = zip(*sides, strict=True)
        common = cpdist(candidates, references, scorer=LCSseq.similarity).tolist()
        return [self._judgement(len(c), len(r), n) for c, r, n in zip(candidates, references, common, strict=True)]

    @staticmethod
    def _judgement(found: int, wanted: int, common: int) -> Judgement:
        """From the numbers of words and of those in the longest common subsequence."""
        if not wanted:
            return Judgement(None, status="error", reason=EMPTY_REFERENCE)
        if not common:
            return Judgement(0.0, {"precision": 0.0, "recall": 0.0})
        precision, recall = common / found, common / wanted
        return Judgement(2 * precision * recall / (precision + recall), {"precision": precision, "recall": recall})


class _Letters(dict[bytes, str]):
    """A character for each word, made when the word is first met."""

    _SURROGATES = 0xD800  # where characters that are none begin; words beyond them take the next plane

    def __missing__(self, word: bytes) -> str:
        n = len(self)
        self[word] = letter = chr(n if n < self._SURROGATES else n - self._SURROGATES + 0x10000)
        return letter


class _Spelling(dict[str, str]):
    """Texts as strings with one character per word, which are compared much faster than lists of words."""

    def __init__(self) -> None:
        super().__init__()
        self._letters = _Letters()

    def __missing__(self, text: str) -> str:
        self[text] = spelled = "".join(map(self._letters.__getitem__, tokens(clean(text))))
        return spelled


class Bleu4Judge:
    """Sentence BLEU-4 in [0, 1]; parts hold the n-gram precisions `p1` to `p4` and `brevity_penalty`.

    Tokens are sacrebleu's `13a`; an n-gram order without a match is smoothed exponentially (`exp`, NIST), and orders
    longer than the candidate are left out (`effective_order`). An empty candidate scores 0.

    Source: Papineni et al. 2002; equal to `sacrebleu.sentence_bleu` of the cleaned texts, divided by 100.
    """

    name = "bleu_4"
    version = "1"
    describe: ClassVar[dict[str, str]] = {
        "license": "Apache-2.0 (sacrebleu)",
        "needs": "nothing more",
        "cost": "next to nothing",
    }

    def __init__(self) -> None:
        from sacrebleu.metrics.bleu import BLEU

        self._bleu = BLEU(tokenize="13a", smooth_method="exp", effective_order=True, max_ngram_order=4)

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """One judgement per pair, in order; duplicates are judged once."""
        return _each_distinct(pairs, self._judge)

    def _judge(self, candidate: str, reference: str) -> Judgement:
        result = self._bleu.sentence_score(candidate, [reference])
        parts = {f"p{n}": precision / 100 for n, precision in enumerate(result.precisions, start=1)}
        # Rounding can leave an exact match a few ulps above 1.
        return Judgement(min(result.score / 100, 1.0), {**parts, "brevity_penalty": result.bp})
