"""The 14 CheXpert labels of a report by rules, offline, and the judge that compares two reports by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.chexpert_rules import mentions, sentences
from chexalign.judges.chexpert_terms import LABELS
from chexalign.judges.normalize import count_words

if TYPE_CHECKING:
    import numpy as np

FINDINGS: tuple[str, ...] = LABELS[:-1]
_NO_FINDING = LABELS[-1]
_RANK = {None: 0, 0: 1, -1: 2, 1: 3}  # of several mentions the strongest counts


def label(text: str) -> dict[str, int | None]:
    """The label of every name in `LABELS`: 1 stated, 0 denied, -1 uncertain, None not mentioned.

    Of several mentions a stated one outranks an uncertain one, and that outranks a denied one. `No Finding` is 1 if
    the text has a word and no finding other than Support Devices is 1 or -1, else None.

    >>> found = label("No effusion or pneumothorax. Mild cardiomegaly.")
    >>> {name: value for name, value in found.items() if value is not None}
    {'Cardiomegaly': 1, 'Pneumothorax': 0, 'Pleural Effusion': 0}
    """
    found: dict[str, int | None] = dict.fromkeys(LABELS)
    for sentence in sentences(text):
        for name, value in mentions(sentence):
            if _RANK[value] > _RANK[found[name]]:
                found[name] = value
    ill = any(found[name] in (1, -1) for name in FINDINGS if name != "Support Devices")
    if not ill and count_words(text):
        found[_NO_FINDING] = 1
    return found


def positives(text: str) -> frozenset[str]:
    """The labels that the text states or holds possible: uncertain counts as positive, as in CheXbert's rrg mode."""
    return frozenset(name for name, value in label(text).items() if value in (1, -1))


def label_matrix(texts: Sequence[str]) -> np.ndarray:
    """`positives` as a table: bool [N, 14], columns in the order of `LABELS`."""
    import numpy as np

    rows = [[value in (1, -1) for value in label(text).values()] for text in texts]
    return np.array(rows, dtype=bool).reshape(len(rows), len(LABELS))


class CheXpertJudge:
    """Agreement of the positive findings of candidate and reference, per report, in [0, 1].

    The value is F1 of the two sets of positive labels (uncertain counts as positive) over the 13 `FINDINGS`:
    2 tp / (2 tp + fp + fn); 1 if both sets are empty, as both call the study normal. `No Finding` takes no part.
    Parts: tp, fp, fn, n_candidate, n_reference. An empty candidate says nothing and scores 0; an empty reference
    is an error. The labels come from rules written for this package, not from CheXpert's labeler or CheXbert.
    """

    name = "chexpert"
    version = "1"
    describe: ClassVar[dict[str, str]] = {
        "license": "Apache-2.0 (this package)",
        "needs": "nothing more",
        "cost": "next to nothing",
    }

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """One judgement per pair, in order; each distinct text is labeled once."""
        known = {
            text: self._findings(text) for text in {text for pair in pairs for text in (pair.candidate, pair.reference)}
        }
        return [_compare(known[pair.candidate], known[pair.reference]) for pair in pairs]

    @staticmethod
    def _findings(text: str) -> frozenset[str] | None:
        """The positive findings; None for a text without words."""
        return positives(text) - {_NO_FINDING} if count_words(text) else None


def _compare(candidate: frozenset[str] | None, reference: frozenset[str] | None) -> Judgement:
    if reference is None:
        return Judgement(None, status="error", reason="the reference has no words")
    found = candidate or frozenset()
    tp, fp, fn = len(found & reference), len(found - reference), len(reference - found)
    parts = {"tp": tp, "fp": fp, "fn": fn, "n_candidate": len(found), "n_reference": len(reference)}
    f1 = 2 * tp / (2 * tp + fp + fn) if found or reference else 1.0
    return Judgement(f1 if candidate is not None else 0.0, {key: float(part) for key, part in parts.items()})
