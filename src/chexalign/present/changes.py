"""What a policy changed in a report, sentence by sentence, and which findings it got right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

SentenceKind = Literal["kept", "reworded", "added", "dropped"]
LabelKind = Literal["match", "missed", "invented", "withdrawn"]
LabelChange = Literal["", "found", "lost", "invented", "withdrawn"]

_SENTENCE = re.compile(r"\S.*?(?:[.!?]+(?=\s|$)|$)", re.DOTALL)
_WORD = re.compile(r"[a-z0-9]+")
_REWORDED_FROM = 0.6  # share of words in common, in order, from which a sentence counts as the same one reworded


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of words: in both sentences, new in the later one, or gone from the earlier one."""

    text: str
    change: Literal["same", "new", "gone"] = "same"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the later text (or, when dropped, of the earlier one) and what became of it."""

    pieces: tuple[Piece, ...]
    kind: SentenceKind

    @property
    def text(self) -> str:
        """The whole sentence, without the words that are gone."""
        return " ".join(piece.text for piece in self.pieces if piece.change != "gone")


@dataclass(frozen=True, slots=True)
class LabelChip:
    """A finding: in both texts, only in the reference, only in the written report, or no longer in either.

    `change` says how that differs from the report before; empty where it does not.
    """

    label: str
    kind: LabelKind
    change: LabelChange = ""


def sentences(text: str) -> list[str]:
    """The sentences of a text with their ends, white space trimmed; a decimal point ends none."""
    return [" ".join(found.group().split()) for found in _SENTENCE.finditer(text)]


def sentence_changes(before: str, after: str) -> list[Sentence]:
    """The sentences of `after` marked kept, reworded or added, then those of `before` that are gone.

    Each sentence of `before` accounts for one of `after`: an equal one first (case and punctuation aside), then the
    most alike, if 60% of the words of both are shared in order.
    """
    old, new = sentences(before), sentences(after)
    origin = _match(old, new)
    marked = [
        Sentence((Piece(text),), "added") if source is None else _compared(old[source], text)
        for text, source in zip(new, origin, strict=True)
    ]
    gone = [text for i, text in enumerate(old) if i not in origin]
    return marked + [Sentence((Piece(text),), "dropped") for text in gone]


def label_chips(
    reference: Sequence[str], written: Sequence[str], before: Sequence[str] | None = None
) -> list[LabelChip]:
    """Matches in the order of the reference, then what was missed, then what was invented, then what no longer is.

    `before` are the labels of the report that this one is compared with, if it is compared with any.
    """
    known = written if before is None else before
    matched = [LabelChip(label, "match", "" if label in known else "found") for label in reference if label in written]
    missed = [
        LabelChip(label, "missed", "lost" if label in known else "") for label in reference if label not in written
    ]
    invented = [
        LabelChip(label, "invented", "" if label in known else "invented")
        for label in written
        if label not in reference
    ]
    gone = [label for label in known if label not in reference and label not in written]
    return [*matched, *missed, *invented, *(LabelChip(label, "withdrawn", "withdrawn") for label in gone)]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _match(old: list[str], new: list[str]) -> list[int | None]:
    """For each new sentence the index of the old one it comes from; an old one is used once."""
    old_words, new_words = [_words(t) for t in old], [_words(t) for t in new]
    origin: list[int | None] = [None] * len(new)
    free = set(range(len(old)))
    for j, words in enumerate(new_words):
        same = next((i for i in sorted(free) if old_words[i] == words), None)
        if same is not None:
            origin[j] = same
            free.discard(same)
    alike = sorted(
        (
            (-SequenceMatcher(None, old_words[i], new_words[j], autojunk=False).ratio(), j, i)
            for j in range(len(new))
            if origin[j] is None
            for i in free
        ),
    )
    for ratio, j, i in alike:
        if -ratio >= _REWORDED_FROM and origin[j] is None and i in free:
            origin[j] = i
            free.discard(i)
    return origin


def _compared(old: str, new: str) -> Sentence:
    if _words(old) == _words(new):
        return Sentence((Piece(new),), "kept")
    left, right = old.split(), new.split()
    matcher = SequenceMatcher(None, [_bare(w) for w in left], [_bare(w) for w in right], autojunk=False)
    pieces: list[Piece] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag != "equal" and i2 > i1:
            pieces.append(Piece(" ".join(left[i1:i2]), "gone"))
        if j2 > j1:
            pieces.append(Piece(" ".join(right[j1:j2]), "same" if tag == "equal" else "new"))
    return Sentence(tuple(pieces), "reworded")


def _bare(word: str) -> str:
    return word.lower().strip(".,;:!?")
