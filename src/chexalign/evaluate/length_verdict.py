"""Length next to quality for every policy that learned from a judge, and a verdict with its rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chexalign.evaluate.length import length_controlled_win_rate, length_slope, relative_verbosity, win_rate
from chexalign.evaluate.reports import PolicyResults
from chexalign.stats import Bootstrap
from chexalign.types import Estimate

MOST_VERBOSE = 1.1  # times the words of the baseline that are still called no growth


@dataclass(frozen=True, slots=True)
class LengthVerdict:
    """Whether a policy's reports grew, and whether they are better at equal length by the judge it learned from.

    `no growth`: the whole interval of the words against the baseline's lies at or below 1.1. `longer and better`: it
    lies above, and that of the length-controlled win rate above one half. `longer only`: it lies above, and the win
    rate does not. `open`: the interval leaves both possible, or there is none.
    """

    policy: str
    judge: str
    verdict: Literal["no growth", "longer and better", "longer only", "open"]


def length_numbers(
    result: PolicyResults, base: PolicyResults, bootstrap: Bootstrap, *, own: str, split: str
) -> tuple[list[Estimate], LengthVerdict | None]:
    """Verbosity against the baseline, and by the own judge win rates and the slope of gain against added words.

    No verdict, and verbosity alone, for a policy whose judge scores no single reports, such as a panel.
    """
    words, theirs = result.values["words"], base.values["words"]
    about: Mapping[str, Any] = {"policy": result.name, "split": split}
    against = {**about, "baseline": base.name}
    out = [relative_verbosity(bootstrap, words, theirs, **against)]
    if own not in result.values:
        return out, None
    mine, before = result.values[own], base.values[own]
    won = length_controlled_win_rate(bootstrap, mine, before, words, theirs, metric=own, **against)
    out += [
        win_rate(bootstrap, mine, before, metric=own, **against),
        won,
        length_slope(bootstrap, mine - before, words - theirs, metric=f"{own}.gain", **about),
    ]
    return out, LengthVerdict(result.name, own, _verdict(out[0], won))


def reference_verbosity(
    results: Sequence[PolicyResults], reference_words: Sequence[float], bootstrap: Bootstrap, *, split: str
) -> list[Estimate]:
    """Words of every policy over those of the radiologist."""
    return [
        relative_verbosity(
            bootstrap, r.values["words"], reference_words, policy=r.name, baseline="reference", split=split
        )
        for r in results
    ]


def _verdict(verbosity: Estimate, won: Estimate) -> Literal["no growth", "longer and better", "longer only", "open"]:
    if verbosity.low is None or verbosity.high is None:
        return "open"
    if verbosity.high <= MOST_VERBOSE:
        return "no growth"
    if verbosity.low <= MOST_VERBOSE:
        return "open"
    return "longer and better" if won.low is not None and won.low > 0.5 else "longer only"
