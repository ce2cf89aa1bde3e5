"""Which number of a column is bold: the best one, where it is better than the next by more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from chexalign.compare.grid import Cell, Column
from chexalign.compare.studies import System
from chexalign.run_folder import SFT
from chexalign.types import Comparison, Estimate

HIGHEST_P = 0.05
RULE = (
    "Bold: the best of a column, where its paired difference against the next is significant: within a run against "
    "sft by its test (p < 0.05 after Holm), else by a paired bootstrap on the shared rows whose 95% interval excludes "
    "0. Quoted numbers take no part."
)


class Differences(Protocol):
    """What knows the paired difference of two systems."""

    same: bool

    def difference(self, one: System, other: System, metric: str) -> Estimate | None:
        """The difference in a metric; None where it has none."""
        ...


def with_best(
    columns: Sequence[Column], rows: Sequence[tuple[System, Sequence[Cell]]], paired: Differences
) -> list[list[Cell]]:
    """The cells of the rows, the best of each column marked if it is significantly better than the next."""
    cells = [list(row) for _, row in rows]
    for at, column in enumerate(columns):
        if column.better == 0:
            continue
        known = [(e.value, i) for i, row in enumerate(cells) if (e := row[at].estimate) and e.value is not None]
        ranked = sorted(known, key=lambda pair: -column.better * pair[0])
        if len(ranked) < 2:
            continue
        best, following = ranked[0][1], ranked[1][1]
        if significant(rows[best][0], rows[following][0], column, paired):
            cells[best][at] = replace(cells[best][at], best=True)
    return cells


def significant(one: System, other: System, column: Column, paired: Differences) -> bool:
    """Whether `one` is better than `other` in the column by more than chance."""
    tested = tested_in_run(one, other, column.metric) if paired.same else None
    if tested is not None:
        delta, p = tested
        return p < HIGHEST_P and delta * column.better > 0
    found = paired.difference(one, other, column.metric)
    return found is not None and found.excludes_zero and (found.value or 0.0) * column.better > 0


def tested_in_run(one: System, other: System, metric: str) -> tuple[float, float] | None:
    """Difference and corrected p of the test that the run made of the two, if it made one."""
    if one.side is not other.side or SFT not in (one.policy, other.policy):
        return None
    sign, policy = (1, one.policy) if other.policy == SFT else (-1, other.policy)
    tests: Mapping[tuple[str, str], Comparison] = {
        (c.metric, c.policy): c for c in one.side.numbers.comparisons if c.baseline == SFT
    }
    found = tests.get((metric, policy))
    if found is None or found.delta is None or found.p_holm is None:
        return None
    return sign * found.delta, found.p_holm
