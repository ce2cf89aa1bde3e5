"""Findings as flags: one column per finding, 1 where an item has it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from chexalign import ids
from chexalign.errors import UserError
from chexalign.types import Question

_ROWS_AT_ONCE = 8192


def findings_of(question: Question) -> frozenset[str]:
    """The findings that the evidence of a question says are there, by label, box or code."""
    return frozenset(e.text for e in question.evidence if e.present and e.kind != "study")


def columns_of(found: Sequence[Collection[str]]) -> tuple[str, ...]:
    """Every finding that some item has, in the order of their names.

    Raises: UserError when no item has any.
    """
    columns = tuple(sorted({name for own in found for name in own}))
    if not columns:
        raise UserError(
            "No item has a finding.",
            "Vectors of findings would have no column, and all items would be alike.",
            "Give the questions evidence, or choose a variant of similarity without findings.",
        )
    return columns


def flag_blocks(found: Sequence[Collection[str]], columns: Sequence[str]) -> Iterator[npt.NDArray[np.uint8]]:
    """[rows, columns] uint8 in blocks, items in order; a finding without a column is left out."""
    places = {name: i for i, name in enumerate(columns)}
    for start in range(0, len(found), _ROWS_AT_ONCE):
        some = found[start : start + _ROWS_AT_ONCE]
        block = np.zeros((len(some), len(columns)), np.uint8)
        for row, own in enumerate(some):
            block[row, [places[name] for name in own if name in places]] = 1
        yield block


def flags_digest(columns: Sequence[str]) -> str:
    """What stands for the model of such features: equal columns can be compared."""
    return ids.digest("findings", list(columns))
