"""How judges clean a text before they compare it, and how they count its words."""

from __future__ import annotations

import re

from chexalign.cleaning import NAME, clean

__all__ = ["NAME", "clean", "count_words", "words"]

_EDGES = re.compile(r"^[^\w]+|[^\w]+$")


def words(text: str) -> list[str]:
    """The words of the cleaned text: what stands between blanks, without punctuation at its edges.

    A piece without letters or digits is no word; `right-sided` and `1.5` are one word each.

    >>> words("No right-sided effusion - 1.5 cm.")
    ['no', 'right-sided', 'effusion', '1.5', 'cm']
    """
    return [word for piece in clean(text).split() if (word := _EDGES.sub("", piece))]


def count_words(text: str) -> int:
    """The number of `words` in the text."""
    return len(words(text))
