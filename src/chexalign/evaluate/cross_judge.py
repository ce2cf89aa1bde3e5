"""What the judges that a policy was not trained on say of it, next to what its own judge says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from chexalign.evaluate.reports import PolicyResults
from chexalign.stats import Bootstrap
from chexalign.types import Estimate

GAIN, GAP = "gain_sd", "goodhart_gap"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One study that judges see differently: by how much each says the report changed, in its standard deviations."""

    study_id: str
    policy: str
    gains: dict[str, float]


def cross_judge(
    result: PolicyResults, base: PolicyResults, bootstrap: Bootstrap, *, own: str, judges: Sequence[str], split: str
) -> list[Estimate]:
    """The gain by each judge in standard deviations of the baseline's scores, and how far the own judge's is ahead.

    `gain_sd.JUDGE` is the mean paired difference over that scale, so that judges can be compared. `goodhart_gap` is
    the gain by `own`, the judge that the policy learned from, less the mean gain by the others; a study that one of
    them could not score is left out. A length-controlled or summed form of the own judge is none of the others.
    Nothing comes of a judge whose scores of the baseline do not vary.
    """
    gains = _gains(result, base, judges)
    about = {"policy": result.name, "split": split}
    out = [
        _against(bootstrap.mean(values, metric=f"{GAIN}.{judge}", **about), base.name)
        for judge, values in gains.items()
    ]
    others = [values for judge, values in gains.items() if judge != own and own not in judge.split("-")]
    if own in gains and others:
        gap = gains[own] - np.mean(others, axis=0)
        out.append(_against(bootstrap.mean(gap, metric=GAP, **about), base.name))
    return out


def disagreements(
    result: PolicyResults, base: PolicyResults, study_ids: Sequence[str], *, judges: Sequence[str], most: int = 10
) -> list[Disagreement]:
    """The studies about which the judges' gains lie furthest apart, widest first; equal ones in order of their ids."""
    gains = _gains(result, base, judges)
    if len(gains) < 2:
        return []
    table = np.stack(list(gains.values()))
    width = table.max(axis=0) - table.min(axis=0)
    order = sorted(np.flatnonzero(~np.isnan(width)).tolist(), key=lambda i: (-width[i], study_ids[i]))
    return [
        Disagreement(study_ids[i], result.name, {judge: float(values[i]) for judge, values in gains.items()})
        for i in order[:most]
        if width[i] > 0
    ]


def _gains(result: PolicyResults, base: PolicyResults, judges: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """Each judge's differences [N], over the standard deviation of what it gave the baseline."""
    out = {}
    for judge in judges:
        before = base.values[judge]
        known = before[~np.isnan(before)]
        if len(known) > 1 and (scale := float(known.std(ddof=1))) > 0:
            out[judge] = (result.values[judge] - before) / scale
    return out


def _against(estimate: Estimate, baseline: str) -> Estimate:
    return replace(estimate, baseline=baseline)
