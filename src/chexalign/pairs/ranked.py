"""Rules that take more of a ranking than its two ends, or a gap that is not the widest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from chexalign.errors import UserError
from chexalign.pairs.columns import Scored
from chexalign.pairs.rules import Dropped, checked_margin, eligible, make_pair
from chexalign.types import Pair

Gap = tuple[float, Scored, Scored]  # margin, chosen, rejected


class Margin:
    """Prefers with the widest score difference that is above `min_margin` and at most `max_margin`.

    A ceiling leaves out pairs that are easy to tell apart; one without an effect makes this rule `best_worst`.
    Unscored and empty candidates take no part; among equal differences the lowest draws are taken.
    """

    def __init__(self, *, min_margin: float, max_margin: float) -> None:
        self.min_margin, self.max_margin = checked_margin(min_margin), max_margin
        if not max_margin > min_margin:
            raise UserError(
                f"pairs: max_margin is {max_margin}, and min_margin is {min_margin}",
                "a score difference must be above the one and at most the other",
                "Raise max_margin, or lower min_margin",
            )

    @property
    def name(self) -> str:
        """E.g. `margin(min_margin=0.1, max_margin=0.5)`."""
        return f"margin(min_margin={self.min_margin!r}, max_margin={self.max_margin!r})"

    def pairs(self, prompt_id: str, scored: Sequence[Scored], *, judge: str) -> list[Pair] | Dropped:
        """One pair, or Dropped: `fewer_than_two_scored`, `tie` or `no_pair_below_max_margin`."""
        found = gaps(scored, self.min_margin)
        if isinstance(found, Dropped):
            return found
        below = [gap for gap in found if gap[0] <= self.max_margin]
        if not below:
            return Dropped("no_pair_below_max_margin")
        _, chosen, rejected = below[0]
        return [make_pair(prompt_id, chosen, rejected, judge=judge, rule=self.name)]


class TopBottom:
    """Prefers the k best to the k worst: the best to the worst, the second best to the second worst, and so on.

    Each candidate stands in one pair at most, so n candidates give no more than n // 2 pairs, and fewer where
    differences shrink to `min_margin`. With k = 1 the pairs are those of `best_worst`.
    Unscored and empty candidates take no part; among equal scores the lower draw ranks nearer to its end.
    """

    def __init__(self, *, min_margin: float, k: int) -> None:
        self.min_margin, self.k = checked_margin(min_margin), whole("k", k)

    @property
    def name(self) -> str:
        """E.g. `top_bottom(k=2, min_margin=1e-08)`."""
        return f"top_bottom(k={self.k}, min_margin={self.min_margin!r})"

    def pairs(self, prompt_id: str, scored: Sequence[Scored], *, judge: str) -> list[Pair] | Dropped:
        """Up to k pairs, or Dropped: `fewer_than_two_scored` or `tie`."""
        best = eligible(scored)
        if len(best) < 2:
            return Dropped("fewer_than_two_scored")
        worst = sorted(best, key=lambda row: row[0])  # stable, so among equal scores the lower draw stays in front
        ends = list(zip(best, worst, strict=True))[: min(self.k, len(best) // 2)]
        apart = [(chosen, rejected) for (high, chosen), (low, rejected) in ends if high - low > self.min_margin]
        if not apart:
            return Dropped("tie")
        return [make_pair(prompt_id, *ends, judge=judge, rule=self.name) for ends in apart]


class RoundRobin:
    """Prefers every candidate to every other that it beats by more than `min_margin`, at most `max_pairs` a prompt.

    Where there are more, those with the widest differences are taken, so the first is that of `best_worst`.
    Unscored and empty candidates take no part. A text can stand in several pairs, so they are not independent.
    """

    def __init__(self, *, min_margin: float, max_pairs: int) -> None:
        self.min_margin, self.max_pairs = checked_margin(min_margin), whole("max_pairs", max_pairs)

    @property
    def name(self) -> str:
        """E.g. `round_robin(max_pairs=3, min_margin=1e-08)`."""
        return f"round_robin(max_pairs={self.max_pairs}, min_margin={self.min_margin!r})"

    def pairs(self, prompt_id: str, scored: Sequence[Scored], *, judge: str) -> list[Pair] | Dropped:
        """Up to `max_pairs` pairs, widest first, or Dropped: `fewer_than_two_scored` or `tie`."""
        found = gaps(scored, self.min_margin)
        if isinstance(found, Dropped):
            return found
        return [make_pair(prompt_id, c, r, judge=judge, rule=self.name) for _, c, r in found[: self.max_pairs]]


def gaps(scored: Sequence[Scored], min_margin: float) -> list[Gap] | Dropped:
    """Every two candidates whose scores differ by more than `min_margin`, the widest difference first.

    Among equal differences the lowest draws come first. Cost: the square of the number of candidates.
    """
    rows = eligible(scored)
    if len(rows) < 2:
        return Dropped("fewer_than_two_scored")
    found = sorted(_apart(rows, min_margin), key=_widest)
    return found or Dropped("tie")


def _apart(rows: list[tuple[float, Scored]], min_margin: float) -> Iterator[Gap]:
    for i, (high, chosen) in enumerate(rows):
        for low, rejected in rows[i + 1 :]:
            if high - low > min_margin:
                yield high - low, chosen, rejected


def _widest(gap: Gap) -> tuple[float | int | str, ...]:
    margin, c, r = gap
    assert c.value is not None
    assert r.value is not None
    # Different scores can have differences that round to the same number: then the better of them comes first.
    return -margin, -c.value, r.value, c.draw, c.candidate_id, r.draw, r.candidate_id


def whole(name: str, value: float) -> int:
    """The value as a whole number above 0.

    Raises UserError when it is none.
    """
    if not (math.isfinite(value) and value >= 1 and value == int(value)):
        raise UserError(
            f"pairs: {name} is {value}", "it counts pairs of a prompt", f"Set {name} to a whole number above 0"
        )
    return int(value)
