"""Does a policy write better reports, or longer ones? What a judge's scores owe to length, with intervals.

All functions take values per study, in the order of the bootstrap's rows; a study that misses one is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chexalign.stats import Bootstrap
from chexalign.stats.sums import Bools, Floats, Values, complete, divide
from chexalign.types import Estimate

_RIDGE = 1e-3  # keeps a fit finite where all are won, or length alone decides; moves no other one visibly
_LONGEST_STEP, _STEPS, _DONE = 3.0, 60, 1e-8


def relative_verbosity(
    bootstrap: Bootstrap, words: Values, baseline_words: Values, *, policy: str, baseline: str, split: str
) -> Estimate:
    """Mean words of a report over mean words of the baseline's, named `verbosity_vs_BASELINE`.

    The baseline is a policy, or the radiologist's text: the CheXalign paper uses the word verbosity for both.
    """
    return bootstrap.of_sums(
        [words, baseline_words],
        lambda sums: divide(sums[:, 0], sums[:, 1]),
        metric=f"verbosity_vs_{baseline}",
        policy=policy,
        split=split,
    )


def length_slope(
    bootstrap: Bootstrap, scores: Values, words: Values, *, metric: str, policy: str, split: str
) -> Estimate:
    """By how much the score rises with 10 more words, by least squares, named `METRIC.per_10_words`.

    Over studies this also shows that hard studies have long reports. Give differences against a baseline, in scores and
    in words, to see what a policy gains where it writes more about the same image. None where all lengths are equal.
    """
    kept, found = complete(bootstrap.n, scores, words)
    y, x = (_among(kept, v - v.mean() if len(v) else v) for v in found)  # moves no slope, and saves digits

    def slope(sums: Floats) -> Floats:
        n, sx, sy, sxx, sxy = sums.T
        spread = n * sxx - sx**2
        return 10 * divide(n * sxy - sx * sy, np.where(spread > 1e-9 * n * sxx, spread, 0.0))

    columns = [np.ones(bootstrap.n), x, y, x * x, x * y]
    return bootstrap.of_sums(columns, slope, metric=f"{metric}.per_10_words", policy=policy, split=split)


def win_rate(
    bootstrap: Bootstrap,
    scores: Values,
    baseline_scores: Values,
    *,
    metric: str,
    policy: str,
    baseline: str,
    split: str,
) -> Estimate:
    """The share of studies on which the judge puts the policy above the baseline, named `METRIC.win_rate_vs_BASELINE`.

    A tie is half a win, so policies that are alike have 0.5.
    """
    name = f"{metric}.win_rate_vs_{baseline}"
    return bootstrap.mean(_wins(scores, baseline_scores), metric=name, policy=policy, split=split)


@dataclass(frozen=True, slots=True)
class LengthGroup:
    """Studies with like differences in length, and the policy's win rate on them."""

    fewest_words: float  # more than the baseline; negative where the policy writes less
    most_words: float
    win_rate: Estimate


def win_rate_by_length(
    bootstrap: Bootstrap,
    scores: Values,
    baseline_scores: Values,
    words: Values,
    baseline_words: Values,
    *,
    metric: str,
    policy: str,
    baseline: str,
    split: str,
    groups: int = 10,
) -> list[LengthGroup]:
    """The win rate in each decile of the difference in words, shortest first; see `win_rate`.

    Deciles are cut on the full set and stay as they are on the resamples. Equal differences share a group, so groups
    differ in size and there may be fewer than `groups`.
    """
    kept, found = complete(bootstrap.n, scores, baseline_scores, words, baseline_words)
    if not kept.any():
        return []
    wins, more = _wins(found[0], found[1]), found[2] - found[3]
    cuts = np.quantile(more, np.arange(1, groups) / groups, method="inverted_cdf")
    group, out = np.searchsorted(cuts, more, side="left"), []
    for number in np.unique(group):
        inside = group == number
        name = f"{metric}.win_rate_vs_{baseline}.group_{number + 1}_of_{groups}"
        some = bootstrap.only(kept).only(inside)
        rate = some.mean(wins[inside], metric=name, policy=policy, split=split)
        out.append(LengthGroup(float(more[inside].min()), float(more[inside].max()), rate))
    return out


def length_controlled_win_rate(
    bootstrap: Bootstrap,
    scores: Values,
    baseline_scores: Values,
    words: Values,
    baseline_words: Values,
    *,
    metric: str,
    policy: str,
    baseline: str,
    split: str,
) -> Estimate:
    """The win rate that would be had at equal lengths, named `METRIC.lc_win_rate_vs_BASELINE`.

    A logistic regression, logit P(win) = theta + phi * tanh(d / sd(d)), with d the difference in words; the result is
    1 / (1 + exp(-theta)), the fitted chance at d = 0. sd(d) is that of the full set. It is the model of
    length-controlled AlpacaEval without its term for the difficulty of each instruction, which is fitted over many
    systems. Where the policy writes more on every study, d = 0 lies outside the data: the result rests on the model.
    Source: Dubois et al. 2024, section 3.
    """
    kept, found = complete(bootstrap.n, scores, baseline_scores, words, baseline_words)
    more = found[2] - found[3]
    spread = float(np.std(more)) if len(more) else 0.0
    return bootstrap.of_weights(
        [_wins(scores, baseline_scores), _among(kept, np.tanh(more / spread) if spread > 0 else 0 * more)],
        lambda weights, wins, length: 1 / (1 + np.exp(-logistic(weights, wins, length)[:, 0])),
        metric=f"{metric}.lc_win_rate_vs_{baseline}",
        policy=policy,
        split=split,
    )


def logistic(weights: Floats, y: Floats, x: Floats) -> Floats:
    """Intercept and slope `[S, 2]` of logistic regressions of `y` on `x`, both `[n]`, under each of `weights: [S, n]`.

    y: between 0 and 1. Newton's method on all fits at once; NaN for one without rows or that does not settle.
    """
    at = np.zeros((len(weights), 2))
    settled = np.zeros(len(weights), dtype=bool)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-(at[:, :1] + at[:, 1:] * x)))
        pull, hold = weights * (y - p), weights * p * (1 - p)
        up = np.stack([pull.sum(axis=1), pull @ x], axis=1) - _RIDGE * at
        a, b, c = hold.sum(axis=1) + _RIDGE, hold @ x, hold @ (x * x) + _RIDGE
        step = np.stack([c * up[:, 0] - b * up[:, 1], a * up[:, 1] - b * up[:, 0]], axis=1) / (a * c - b * b)[:, None]
        step *= _LONGEST_STEP / np.maximum(np.abs(step).max(axis=1, keepdims=True), _LONGEST_STEP)
        at += step
        settled = np.abs(step).max(axis=1) < _DONE
        if settled.all():
            break
    at[~settled | ~weights.any(axis=1)] = np.nan
    return at


def _among(kept: Bools, values: Floats) -> Floats:
    """The values of the kept rows at their places among all rows, NaN elsewhere."""
    out = np.full(len(kept), np.nan)
    out[kept] = values
    return out


def _wins(scores: Values, baseline_scores: Values) -> Floats:
    gap = np.asarray(scores, dtype=np.float64) - np.asarray(baseline_scores, dtype=np.float64)
    return np.where(np.isnan(gap), np.nan, (np.sign(gap) + 1) / 2)
