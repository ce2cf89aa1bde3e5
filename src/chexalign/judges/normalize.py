"""How judges clean a text before they compare it, and how they count its words."""

from __future__ import annotations

import re

NAME = "chexalign-clean"  # what a run records about the cleaning

_BRACKETED = re.compile(r"\[.*?\]", re.DOTALL)
_EDGES = re.compile(r"^[^\w]+|[^\w]+$")


def clean(text: str) -> str:
    """The text without `[...]` spans and `**`, blanks collapsed to one space, stripped, in lower case.

    A run cleans the candidate and the reference alike; tables keep the raw text.

    Source: CheXalign (ACL 2025), the cleaning in front of every judge.

    >>> clean("**Findings:** The heart\\n is normal [1].")
    'findings: the heart is normal .'
    """
    kept = _BRACKETED.sub("", text) if "[" in text else text
    return " ".join(kept.replace("**", "").split()).lower()


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
