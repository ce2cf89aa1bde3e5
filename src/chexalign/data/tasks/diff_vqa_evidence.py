"""What the answers of Medical-Diff-VQA rest on, as their words tell: rules made them, so the words are always the same.

    the main image has additional findings of A, and B than the reference image.     A and B are there
    the main image is missing the finding of C than the reference image.             C is not
    the level of D has changed from mild to moderate.                                D is there
    is there E in the left lung? yes                                                 E/left lung is there

Source: code/question_gen.py in github.com/Holipori/MIMIC-Diff-VQA.
"""

from __future__ import annotations

import re

from chexalign.data.answers import YES_NO, atoms, plain
from chexalign.types import Evidence

_CHANGES = (
    (re.compile(r"additional findings? of (.+?) than the reference image"), True),
    (re.compile(r"missing the findings? of (.+?) than the reference image"), False),
    (re.compile(r"the level of (.+?) has changed from"), True),
)
_PRESENCE = re.compile(r"is there (?:evidence of |any )?(.+?)(?: in (?:the (.+)|this image))?")


def evidence_of(kind: str, text: str, answer: str) -> list[Evidence]:
    """Labels as `finding`, or `finding/place`, there or not; none where the words are others."""
    text, answer = plain(text), plain(answer)
    if kind == "difference":
        found = [(name, there) for words, there in _CHANGES for said in words.findall(answer) for name in atoms(said)]
        return [Evidence("label", name, present=there) for name, there in dict.fromkeys(found)]
    asked = _PRESENCE.fullmatch(text) if kind == "presence" and answer in YES_NO else None
    if asked is None:
        return []
    finding, place = asked.groups()
    return [Evidence("label", f"{finding}/{place}" if place else finding, present=answer == YES_NO[0])]
