"""How far judges agree on which of two candidates of a prompt is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from chexalign.pairs.columns import Columns, Floats, Ints


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two judges on every two candidates of a prompt that both could score; None where nothing can be said."""

    first: str
    second: str
    n: int  # twos of candidates
    n_ordered: int  # of these, how many both judges put in some order
    alike: float | None  # fraction of `n_ordered` that they put in the same one; 0.5 is what chance gives
    tau_b: float | None  # Kendall's, over the twos within prompts, 1 to -1; a tie of either judge counts against it


def agreements(columns: Columns, values: Mapping[str, Floats]) -> list[Agreement]:
    """Every two of the judges, by name; `values` holds each judge's of every row of `columns`.

    Cost: rows times the most candidates that a prompt has. Source of tau-b: Kendall 1945.
    """
    rows, others = _twos(columns)
    signs = {judge: np.sign(found[rows] - found[others]) for judge, found in sorted(values.items())}
    return [_agreement(a, b, signs[a], signs[b]) for a, b in combinations(signs, 2)]


def _twos(columns: Columns) -> tuple[Ints, Ints]:
    """Every two rows of the same prompt that differ in their words, and that have some."""
    sizes, prompt = np.diff(columns.starts), columns.prompt
    left, right = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for step in range(1, int(sizes.max(initial=1))):
        rows = np.flatnonzero(prompt[step:] == prompt[:-step])
        left.append(rows)
        right.append(rows + step)
    a, b = np.concatenate(left), np.concatenate(right)
    kept = (columns.text[a] != columns.text[b]) & (columns.n_words[a] > 0) & (columns.n_words[b] > 0)
    return a[kept], b[kept]


def _agreement(first: str, second: str, a: Floats, b: Floats) -> Agreement:
    known = ~(np.isnan(a) | np.isnan(b))
    a, b = a[known], b[known]
    product = a * b
    same, opposite = int((product > 0).sum()), int((product < 0).sum())
    ordered = same + opposite
    spread = float(np.count_nonzero(a)) * float(np.count_nonzero(b))
    return Agreement(
        first=first,
        second=second,
        n=len(a),
        n_ordered=ordered,
        alike=same / ordered if ordered else None,
        tau_b=(same - opposite) / spread**0.5 if spread else None,
    )
