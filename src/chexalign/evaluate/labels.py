"""Tables of labels, one row per study, out of what a labeling judge said of reference and written report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chexalign.judges.chexbert import FIVE
from chexalign.types import Score

_CANDIDATE, _REFERENCE = "candidate.", "reference."  # parts of a judge that labels both texts, as chexbert


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Labels of both texts, columns by name: `true` and `called`, `[N, L]`, 1 or 0, or NaN where there is no score."""

    labels: tuple[str, ...]
    true: npt.NDArray[np.float64]
    called: npt.NDArray[np.float64]

    @property
    def subsets(self) -> tuple[tuple[str, ...], ...]:
        """The further sets of labels to average over: CheXbert's five, where there are more."""
        five = tuple(label for label in self.labels if label in FIVE)
        return (five,) if len(five) == len(FIVE) < len(self.labels) else ()


def label_table(scores: Sequence[Score]) -> LabelTable | None:
    """The table of scores whose parts hold labels, in their order; None for a judge that tells none.

    A score that tells no labels, such as that of a text which could not be read, is a row of NaN.
    """
    parts = [dict(score.parts) for score in scores]
    told = next((found for found in parts if any(name.startswith(_REFERENCE) for name in found)), None)
    if told is None:
        return None
    labels = tuple(name.removeprefix(_REFERENCE) for name in told if name.startswith(_REFERENCE))
    true, called = (
        np.array([[found.get(side + label, np.nan) for label in labels] for found in parts], dtype=float)
        for side in (_REFERENCE, _CANDIDATE)
    )
    return LabelTable(labels, true, called)
