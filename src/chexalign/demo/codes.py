"""What the tiny policy is pretrained on: labels and captions made of MeSH codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

NORMAL = "normal"


def facts(codes: Sequence[str]) -> set[str]:
    """The heading of each code, and the heading with each of its qualifiers.

    Example: `facts(["Opacity/lung/right"]) == {"Opacity", "Opacity/lung", "Opacity/right"}`.
    """
    out: set[str] = set()
    for code in codes:
        heading, *qualifiers = [part.strip() for part in code.split("/")]
        out.add(heading)
        out.update(f"{heading}/{q}" for q in qualifiers)
    return out


def label_space(studies: Sequence[Sequence[str]], *, at_least: int) -> list[str]:
    """The facts that occur in at least so many studies, most frequent first."""
    counts = Counter(fact for codes in studies for fact in facts(codes))
    return [fact for fact, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n >= at_least]


def label_matrix(studies: Sequence[Sequence[str]], space: Sequence[str]) -> np.ndarray:
    """[studies, facts] float32, 1 where the study has the fact."""
    index = {fact: i for i, fact in enumerate(space)}
    matrix = np.zeros((len(studies), len(space)), dtype=np.float32)
    for row, codes in enumerate(studies):
        for fact in facts(codes):
            if fact in index:
                matrix[row, index[fact]] = 1.0
    return matrix


def caption(codes: Sequence[str]) -> str:
    """One lower-case line that names the codes, sorted so that equal codes give equal captions."""
    lines = sorted({code.lower().replace(",", "").replace("/", " ") for code in codes}) or [NORMAL]
    return ". ".join(lines) + "."
