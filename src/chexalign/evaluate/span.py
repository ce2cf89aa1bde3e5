"""Which tokens of an output spell the short answer.

The short answer is what the output was read as: the option chosen, the options listed, or the words of a free answer.
Each of its texts is looked for as whole words, in any case, and the first place counts: inside `<answer>` tags where
there is one such part, else in the whole output. An option whose text is nowhere may be named by its letter instead.
A token belongs to the span when one of its characters does. Where a text is not found there is no span at all.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from itertools import accumulate

from chexalign.data.answers import plain
from chexalign.types import Question

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)

Range = tuple[int, int]


def answer_tokens(question: Question, token_texts: Sequence[str], read: Sequence[str]) -> tuple[int, ...] | None:
    """The places of the tokens that spell the short answer in the text that the tokens make, or None.

    `read` is what the text was read as (`data.answers.read_as`).
    """
    text = "".join(token_texts)
    tagged = list(_TAGGED.finditer(text))
    region = tagged[0].span(1) if len(tagged) == 1 else (0, len(text))
    free = question.answer_type == "open" and not question.options
    ranges = [_place(text, region, answer, question.options) for answer in (() if free else read)]
    ends = list(accumulate(map(len, token_texts)))
    found = {
        i
        for place in ranges or [_inked(text, region)]
        if place is not None
        for i, end in enumerate(ends)
        if token_texts[i] and end > place[0] and end - len(token_texts[i]) < place[1]
    }
    return tuple(sorted(found)) if found and None not in ranges else None


def _place(text: str, region: Range, answer: str, options: Sequence[str]) -> Range | None:
    words = r"\s+".join(map(re.escape, plain(answer).split()))
    found = re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE).search(text, *region) if words else None
    if found is None and answer in options[: len(string.ascii_uppercase)]:
        letter = string.ascii_uppercase[options.index(answer)]
        found = re.compile(rf"(?<!\w)\(?{letter}\)?(?!\w)").search(text, *region)
    return None if found is None else found.span()


def _inked(text: str, region: Range) -> Range | None:
    """The region without the blanks around it."""
    found = re.compile(r"\S(?:.*\S)?", re.DOTALL).search(text, *region)
    return None if found is None else found.span()
