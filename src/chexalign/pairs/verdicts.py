"""Unpaired preferences: which candidates a judge finds desirable, each by itself, as KTO learns from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Protocol

from chexalign.pairs.columns import Columns, Floats, Scored
from chexalign.pairs.rules import Dropped, checked_margin
from chexalign.run_folder import RunFolder
from chexalign.store import Table
from chexalign.types import Verdict

Sorted = tuple[list[Scored], list[Scored]]  # desirable, undesirable


class VerdictRule(Protocol):
    """Says which of a prompt's candidates are desirable and which are not."""

    @property
    def name(self) -> str:
        """The rule with every parameter, as it stands in `Verdict.rule`."""
        ...

    def sort(self, scored: Sequence[Scored]) -> Sorted | Dropped:
        """The desirable and the undesirable candidates of one prompt; must not depend on the order of `scored`."""
        ...


class AboveMean:
    """Finds a candidate desirable whose score is above the mean of its prompt, and undesirable below it.

    Within `min_margin` of the mean it is neither. Unscored and empty candidates take no part.
    """

    def __init__(self, *, min_margin: float) -> None:
        self.min_margin = checked_margin(min_margin)

    @property
    def name(self) -> str:
        """E.g. `above_mean(min_margin=1e-08)`."""
        return f"above_mean(min_margin={self.min_margin!r})"

    def sort(self, scored: Sequence[Scored]) -> Sorted | Dropped:
        """Both lists, or Dropped: `fewer_than_two_scored` or `tie`."""
        rows = _taking_part(scored)
        if len(rows) < 2:
            return Dropped("fewer_than_two_scored")
        # The mean of an ordered list, so that the order of `scored` cannot move its last bit.
        found = _around(rows, fmean(sorted(value for value, _ in rows)), self.min_margin)
        return found if any(found) else Dropped("tie")


class AboveThreshold:
    """Finds a candidate desirable whose score is above `threshold`, and undesirable below it, whatever the others are.

    Within `min_margin` of the threshold it is neither. Unscored and empty candidates take no part.
    """

    def __init__(self, *, min_margin: float, threshold: float) -> None:
        self.min_margin, self.threshold = checked_margin(min_margin), threshold

    @property
    def name(self) -> str:
        """E.g. `above_threshold(threshold=0.5, min_margin=1e-08)`."""
        return f"above_threshold(threshold={self.threshold!r}, min_margin={self.min_margin!r})"

    def sort(self, scored: Sequence[Scored]) -> Sorted | Dropped:
        """Both lists, or Dropped: `none_scored` or `at_threshold`."""
        rows = _taking_part(scored)
        if not rows:
            return Dropped("none_scored")
        found = _around(rows, self.threshold, self.min_margin)
        return found if any(found) else Dropped("at_threshold")


def verdict_table(run: RunFolder, arm: str) -> Table[Verdict]:
    """The verdicts of an arm, in verdicts/ARM of the run folder."""
    return Table(run.root / "verdicts" / arm, Verdict)


def build_verdicts(
    columns: Columns, values: Floats, *, rule: VerdictRule, judge: str
) -> tuple[list[Verdict], dict[str, int]]:
    """The verdicts of all prompts, ordered by prompt, draw and candidate, and how many prompts gave none, by reason.

    Of several candidates of a prompt with equal words the lowest draw stands for all. Weights are 1.
    """
    verdicts: list[Verdict] = []
    dropped: Counter[str] = Counter()
    texts = columns.text.tolist()
    start = 0
    for prompt_id, scored in columns.prompts(values):
        distinct = dict(zip(texts[start : start + len(scored)][::-1], scored[::-1], strict=True))  # the first of equals
        start += len(scored)
        found = rule.sort(list(distinct.values()))
        if isinstance(found, Dropped):
            dropped[found.reason] += 1
            continue
        rows = [(s.draw, s.candidate_id, good) for good, side in zip((True, False), found, strict=True) for s in side]
        verdicts += [Verdict(id_, prompt_id, good, 1.0, judge, rule.name) for _, id_, good in sorted(rows)]
    return verdicts, dict(sorted(dropped.items()))


def _taking_part(scored: Sequence[Scored]) -> list[tuple[float, Scored]]:
    return [(s.value, s) for s in scored if s.value is not None and s.n_words > 0]


def _around(rows: list[tuple[float, Scored]], middle: float, min_margin: float) -> Sorted:
    above = [s for value, s in rows if value - middle > min_margin]
    return above, [s for value, s in rows if middle - value > min_margin]
