"""Which candidates become a preference: chosen and rejected, from the scores that a judge gave.

A score that is corrected for length needs no rule: it is the judge `lc`, and any rule can stand on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from chexalign.errors import UserError
from chexalign.ids import digest, keyed_seed
from chexalign.pairs.columns import Columns, Floats, Ints, Scored
from chexalign.types import Pair


@dataclass(frozen=True, slots=True)
class Dropped:
    """Why a prompt gives no pair."""

    reason: str


class PairRule(Protocol):
    """Turns the scored candidates of one prompt into pairs, or says why there is none."""

    @property
    def name(self) -> str:
        """The rule with every parameter, as it stands in `Pair.rule`."""
        ...

    def pairs(self, prompt_id: str, scored: Sequence[Scored], *, judge: str) -> list[Pair] | Dropped:
        """The pairs of one prompt; must not depend on the order of `scored`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """Rows of `Columns` that are preferred to others, `[pairs]` each in the order of prompts, and prompts without."""

    chosen: Ints
    rejected: Ints
    dropped: dict[str, int] = field(default_factory=dict)


class BestWorst:
    """Prefers the best-scored candidate to the worst-scored one, if their scores differ by more than `min_margin`.

    Unscored and empty candidates take no part; among equal scores the lowest draw is taken.
    Source: the CheXalign paper, whose code keeps a pair when the two scores differ by more than 1e-8.
    """

    def __init__(self, *, min_margin: float) -> None:
        self.min_margin = checked_margin(min_margin)

    @property
    def name(self) -> str:
        """E.g. `best_worst(min_margin=1e-08)`."""
        return f"best_worst(min_margin={self.min_margin!r})"

    def pairs(self, prompt_id: str, scored: Sequence[Scored], *, judge: str) -> list[Pair] | Dropped:
        """One pair, or Dropped: `fewer_than_two_scored` or `tie`."""
        found = _extremes(scored, self.min_margin)
        if isinstance(found, Dropped):
            return found
        best, worst = found
        return [make_pair(prompt_id, best, worst, judge=judge, rule=self.name)]

    def pick_all(self, columns: Columns, values: Floats) -> Picked:
        """What `pairs` says of every prompt, computed for all of them together."""
        return _all_extremes(columns, values, self.min_margin)


class CoinFlip:
    """The null of `BestWorst`: the same two candidates of the same prompts, put in order by a fair coin.

    Training on these pairs shows what the procedure does when the preferences carry no information.
    The coin depends on `seed` and the prompt alone. `margin` is negative where the coin went against the judge.
    """

    def __init__(self, *, min_margin: float, seed: int) -> None:
        self.min_margin, self.seed = checked_margin(min_margin), seed

    @property
    def name(self) -> str:
        """E.g. `coin_flip(min_margin=1e-08, seed=7)`."""
        return f"coin_flip(min_margin={self.min_margin!r}, seed={self.seed})"

    def pairs(self, prompt_id: str, scored: Sequence[Scored], *, judge: str) -> list[Pair] | Dropped:
        """One pair, or Dropped: `fewer_than_two_scored` or `tie`."""
        found = _extremes(scored, self.min_margin)
        if isinstance(found, Dropped):
            return found
        chosen, rejected = found if self._heads(prompt_id) else found[::-1]
        return [make_pair(prompt_id, chosen, rejected, judge=judge, rule=self.name)]

    def pick_all(self, columns: Columns, values: Floats) -> Picked:
        """What `pairs` says of every prompt, computed for all of them together but for the coins."""
        found = _all_extremes(columns, values, self.min_margin)
        prompts = columns.prompt_ids.take(columns.prompt[found.chosen]).to_pylist()
        heads = np.array([self._heads(prompt_id) for prompt_id in prompts], dtype=bool)
        chosen = np.where(heads, found.chosen, found.rejected)
        return Picked(chosen, np.where(heads, found.rejected, found.chosen), found.dropped)

    def _heads(self, prompt_id: str) -> bool:
        return keyed_seed(self.seed, prompt_id) % 2 == 0


def make_pair(prompt_id: str, chosen: Scored, rejected: Scored, *, judge: str, rule: str) -> Pair:
    """The record of one preference; both candidates must be scored."""
    assert chosen.value is not None
    assert rejected.value is not None
    return Pair(
        id=digest("pair", prompt_id, chosen.candidate_id, rejected.candidate_id, judge, rule),
        prompt_id=prompt_id,
        chosen_id=chosen.candidate_id,
        rejected_id=rejected.candidate_id,
        margin=chosen.value - rejected.value,
        delta_words=chosen.n_words - rejected.n_words,
        judge=judge,
        rule=rule,
    )


def eligible(scored: Sequence[Scored]) -> list[tuple[float, Scored]]:
    """The candidates that take part, those with a score and a word, from the best to the worst.

    Among equal scores the lower draw comes first.
    """
    rows = [(s.value, s) for s in scored if s.value is not None and s.n_words > 0]
    return sorted(rows, key=lambda r: (-r[0], r[1].draw, r[1].candidate_id))


def checked_margin(min_margin: float) -> float:
    """The margin, which a score difference must exceed.

    Raises UserError when no difference could be measured by it.
    """
    if not 0 <= min_margin < float("inf"):
        raise UserError(
            f"pairs: min_margin is {min_margin}",
            "it is a difference of two scores that chosen must exceed, so it cannot be negative or infinite",
            "Set min_margin to 1e-8 to drop ties only, as the CheXalign paper does, or to a larger number",
        )
    return min_margin


def _extremes(scored: Sequence[Scored], min_margin: float) -> tuple[Scored, Scored] | Dropped:
    rows = eligible(scored)
    if len(rows) < 2:
        return Dropped("fewer_than_two_scored")
    (best_value, best), (worst_value, _) = rows[0], rows[-1]
    if not best_value - worst_value > min_margin:
        return Dropped("tie")
    return best, next(s for value, s in rows if value == worst_value)  # the lowest draw of the worst


def _all_extremes(columns: Columns, values: Floats, min_margin: float) -> Picked:
    if not len(columns.ids):
        return Picked(np.empty(0, np.int64), np.empty(0, np.int64))
    known = np.where(columns.n_words > 0, values, np.nan)
    firsts, prompt = columns.starts[:-1], columns.prompt
    best, worst = np.fmax.reduceat(known, firsts), np.fmin.reduceat(known, firsts)
    several = np.add.reduceat((~np.isnan(known)).astype(np.int64), firsts) > 1
    apart = best - worst > min_margin
    kept = several & apart
    dropped = {"fewer_than_two_scored": int((~several).sum()), "tie": int((several & ~apart).sum())}
    return Picked(
        _first(known == best[prompt], prompt)[kept],
        _first(known == worst[prompt], prompt)[kept],
        {reason: n for reason, n in dropped.items() if n},
    )


def _first(flags: np.ndarray, prompt: Ints) -> Ints:
    """The first flagged row of each prompt, 0 where there is none."""
    rows = np.flatnonzero(flags)
    found = np.zeros(int(prompt[-1]) + 1, dtype=np.int64)
    found[prompt[rows][::-1]] = rows[::-1]  # of several writes to one place the last one stays
    return found
