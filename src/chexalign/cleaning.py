"""The cleaning of reports that the CheXalign authors score behind, which judges and normalizers share."""

from __future__ import annotations

import re

NAME = "chexalign-clean"  # what a run records about the cleaning

_BRACKETED = re.compile(r"\[.*?\]", re.DOTALL)


def clean(text: str) -> str:
    """The text without `[...]` spans and `**`, blanks collapsed to one space, stripped, in lower case.

    A run cleans the candidate and the reference alike; tables keep the raw text.

    Source: CheXalign (ACL 2025), the cleaning in front of every judge.

    >>> clean("**Findings:** The heart\\n is normal [1].")
    'findings: the heart is normal .'
    """
    kept = _BRACKETED.sub("", text) if "[" in text else text
    return " ".join(kept.replace("**", "").split()).lower()
