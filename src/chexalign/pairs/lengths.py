"""Rules that mind how long the two texts of a pair are, so that preferring one teaches less about length."""

from __future__ import annotations

from collections.abc import Sequence

from chexalign.errors import UserError
from chexalign.pairs.columns import Scored
from chexalign.pairs.ranked import gaps
from chexalign.pairs.rules import Dropped, checked_margin, make_pair
from chexalign.types import Pair


class LengthWindow:
    """Prefers with the widest score difference among texts of similar length: at most `max_ratio` times the shorter.

    Lengths are words. Differences must exceed `min_margin`; unscored and empty candidates take no part; among equal
    differences the lowest draws are taken.
    """

    def __init__(self, *, min_margin: float, max_ratio: float) -> None:
        self.min_margin, self.max_ratio = checked_margin(min_margin), max_ratio
        if not max_ratio >= 1:
            raise UserError(
                f"pairs: max_ratio is {max_ratio}",
                "it is how many times as long as the shorter text the longer one may be",
                "Set max_ratio to 1 for texts of equal length, or to a larger number such as 1.2",
            )

    @property
    def name(self) -> str:
        """E.g. `length_window(max_ratio=1.2, min_margin=1e-08)`."""
        return f"length_window(max_ratio={self.max_ratio!r}, min_margin={self.min_margin!r})"

    def pairs(self, prompt_id: str, scored: Sequence[Scored], *, judge: str) -> list[Pair] | Dropped:
        """One pair, or Dropped: `fewer_than_two_scored`, `tie` or `no_pair_in_length_window`."""
        found = gaps(scored, self.min_margin)
        if isinstance(found, Dropped):
            return found
        inside = next(((c, r) for _, c, r in found if self._alike(c.n_words, r.n_words)), None)
        if inside is None:
            return Dropped("no_pair_in_length_window")
        return [make_pair(prompt_id, *inside, judge=judge, rule=self.name)]

    def _alike(self, a: int, b: int) -> bool:
        return max(a, b) <= self.max_ratio * min(a, b)


class LengthMatched:
    """Prefers within the two texts that are nearest in length among those whose scores differ by over `min_margin`.

    Lengths are words. Among equally near ones the widest score difference is taken, then the lowest draws. Unscored
    and empty candidates take no part.
    """

    def __init__(self, *, min_margin: float) -> None:
        self.min_margin = checked_margin(min_margin)

    @property
    def name(self) -> str:
        """E.g. `length_matched(min_margin=0.1)`."""
        return f"length_matched(min_margin={self.min_margin!r})"

    def pairs(self, prompt_id: str, scored: Sequence[Scored], *, judge: str) -> list[Pair] | Dropped:
        """One pair, or Dropped: `fewer_than_two_scored` or `tie`."""
        found = gaps(scored, self.min_margin)
        if isinstance(found, Dropped):
            return found
        _, chosen, rejected = min(found, key=lambda gap: abs(gap[1].n_words - gap[2].n_words))  # the first of several
        return [make_pair(prompt_id, chosen, rejected, judge=judge, rule=self.name)]
