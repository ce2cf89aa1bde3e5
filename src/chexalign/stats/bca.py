"""Interval bounds from the draws of a bootstrap: percentile, and bias-corrected and accelerated (BCa)."""

from __future__ import annotations

from statistics import NormalDist
from typing import Literal

import numpy as np

from chexalign.stats.sums import Floats

Interval = Literal["percentile", "bca"]
Bounds = tuple[float, float]
_SAME = 1e-12  # draws that differ from the value by less are equal to it up to rounding


def percentile(draws: Floats, level: float) -> Bounds:
    """The quantiles of `draws: [R]` that leave out half of `1 - level` on either side; NaN draws are left out."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def bca(value: float, draws: Floats, without: Floats, level: float) -> Bounds | str:
    """The bounds of a BCa interval, or why there is none.

    value: the statistic on all rows; draws: `[R]`, on the resamples; without: `[G]`, without each cluster in turn.
    The quantiles that are read off move with the share of draws below the value (half of those equal to it counted),
    and with the skewness of `without`.
    Source: Efron 1987; Efron and Tibshirani 1993, chapter 14.3, their jackknife taken over clusters.
    """
    if not (np.isfinite(draws).all() and np.isfinite(without).all()):
        return "the statistic is undefined on some resamples or without some cluster"
    same = _SAME * max(1.0, abs(value))
    if np.ptp(draws) <= same:
        return "all draws are equal"
    apart = draws - value
    share = float((apart < -same).mean() + (np.abs(apart) <= same).mean() / 2)
    if not 0 < share < 1:
        return "all draws lie on one side of the value"
    if np.ptp(without) <= same:
        return "no cluster changes the value"
    gaps = without.mean() - without
    normal = NormalDist()
    bias, acceleration = normal.inv_cdf(share), float((gaps**3).sum()) / (6 * float((gaps**2).sum()) ** 1.5)
    tails = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + normal.inv_cdf(tail)
        if acceleration * z >= 1:
            return "the acceleration is too strong for this level"
        tails.append(normal.cdf(bias + z / (1 - acceleration * z)))
    low, high = np.quantile(draws, tails)
    return float(low), float(high)
