"""Where a rationale gives the answer itself, apart from the sentences that it rests on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chexalign.data.answers import answer_text, plain
from chexalign.mine.edits.words import capital_if, pieces, whole
from chexalign.types import Question

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTER = re.compile(
    r"(?P<before>^\s*\(?|\((?=[A-Z]\))|\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)(?: is)?:? \(?)(?P<letter>[A-Z])(?=[).:,]|$)"
)
_LEAD = re.compile(
    r"^\s*(?:\(?[A-Z][).:]\s*)?(?:the\s+)?(?:(?:final|correct|best|right)\s+)?(?:(?:answer|option|choice)\s*(?:is\b\s*:?|:)\s*)?"
    r"(?:\(?[A-Z][).:]\s*)?",
    re.IGNORECASE,
)
_TAGGED = re.compile(r"<answer>.*?</answer>", re.DOTALL | re.IGNORECASE)
_END = r"(?=\s*(?:[.,;:!]|$))"


@dataclass(frozen=True, slots=True)
class Slots:
    """A rationale in parts: those that give the answer, and between them the sentences of its body, in order."""

    parts: tuple[str, ...]
    is_body: tuple[bool, ...]
    right: str
    options: tuple[str, ...]

    @staticmethod
    def of(text: str, right: str, options: Sequence[str]) -> Slots:
        """The parts of a text; joined they are the text.

        >>> Slots.of("(A) Yes, there is edema.", "yes", ["yes", "no"]).parts
        ('(A) Yes', ', ', 'there is edema.')
        """
        cut: list[tuple[str, bool]] = []
        at = 0
        for tagged in _TAGGED.finditer(text):
            cut += [*_cut(text[at : tagged.start()], right), (tagged[0], False)]
            at = tagged.end()
        cut += _cut(text[at:], right)
        return Slots(tuple(p for p, _ in cut), tuple(b for _, b in cut), right, tuple(options))

    @property
    def body(self) -> list[str]:
        """The sentences that do not give the answer."""
        return [part for part, body in zip(self.parts, self.is_body, strict=True) if body]

    def written(self, wrong: str, body: Sequence[str]) -> str:
        """The text with another answer and another body, of as many sentences."""
        left = iter(body)
        return "".join(
            next(left) if of_body else self._given(part, wrong)
            for part, of_body in zip(self.parts, self.is_body, strict=True)
        )

    def _given(self, part: str, wrong: str) -> str:
        if not part.strip():
            return part
        part = whole([self.right]).sub(lambda f: capital_if(wrong, f[0][:1].isupper()), part, count=1)
        places = {option: place for place, option in enumerate(self.options[: len(_LETTERS)])}
        if self.right not in places or wrong not in places:
            return part
        own, other = _LETTERS[places[self.right]], _LETTERS[places[wrong]]
        return _LETTER.sub(lambda f: f["before"] + (other if f["letter"] == own else f["letter"]), part)


def _cut(text: str, right: str) -> list[tuple[str, bool]]:
    """Sentences and what is between them; an answer that a sentence begins with is apart from the rest of it."""
    found: list[tuple[str, bool]] = []
    lead = re.compile(rf"{_LEAD.pattern}{whole([right]).pattern}{_END}", re.IGNORECASE)
    for i, piece in enumerate(pieces(text)):
        if (
            i % 2
            or not piece.strip()
            or plain(_LEAD.sub("", piece)) == plain(right)
            or _LETTER.fullmatch(piece.rstrip(" .):"))
        ):
            found.append((piece, False))
        elif given := lead.match(piece):
            gap = re.match(r"[\s.,;:!]*", piece[given.end() :])
            assert gap is not None
            rest = piece[given.end() + gap.end() :]
            found += [(given[0], False), (gap[0], False), *([(rest, True)] if rest else [])]
        else:
            found.append((piece, True))
    return found


def replaced_answer(question: Question, wrong: str) -> str:
    """What is written where another answer is right and there is no rationale."""
    return answer_text(replace(question, answers=(wrong,), rationale=None))
