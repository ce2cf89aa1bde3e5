"""Intervals and paired tests over per-study values that were computed once.

A metric is never computed again on a resample: every statistic here is a ratio of weighted sums, and the weights of all
resamples are one matrix `[resamples, n]`, shared by every metric of a run. So two systems meet the same resamples, and
an interval costs one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chexalign.types import Estimate

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Values = Sequence[float | None] | npt.NDArray[Any]

FEWEST_CLUSTERS = 20  # percentile intervals over fewer are too short to print
_FLIPS_AT_ONCE = 1_000  # bounds memory; part of the random stream, so not an option


def bootstrap_weights(clusters: Sequence[str], *, resamples: int, seed: int) -> Floats:
    """How often each row stands in each resample, when clusters (studies or patients) are drawn with replacement.

    Returns `[resamples, n]`, whole numbers; rows of one cluster share a column's values. A resample draws as many
    clusters as there are, so its number of rows varies when clusters differ in size.
    Deterministic for `clusters` in order and `seed`. Memory is 8 * resamples * n bytes.
    """
    _, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    n_clusters = int(index.max()) + 1 if len(index) else 0
    drawn = np.random.default_rng(seed).integers(0, max(n_clusters, 1), size=(resamples, n_clusters))
    drawn += np.arange(resamples)[:, None] * n_clusters
    counts = np.bincount(drawn.ravel(), minlength=resamples * n_clusters).reshape(resamples, n_clusters)
    return counts[:, index].astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Name:
    """What an estimate is about."""

    metric: str
    policy: str
    split: str
    baseline: str | None = None


class Bootstrap:
    """Percentile bootstrap intervals for one fixed list of rows (one row per study, in the same order everywhere).

    `clusters` names what is resampled, one entry per row: the study, or the patient when patients have several studies.
    The value of an estimate is the statistic on the full set (the CheXalign paper prints the mean over resamples);
    the bounds are quantiles of the same statistic over the resamples, not symmetric about the value.
    A missing value (None or NaN) is left out and counted in `method`; it is never 0.
    Below 20 clusters `low` and `high` are None and `method` says so.

    Example: `Bootstrap(patient_ids, seed=1).mean(green, metric="green", policy="dpo", split="test")`.
    Raises ValueError when an array does not have one row per cluster entry, or holds an infinite value.
    Source: Efron and Tibshirani 1993, chapter 13; whole clusters are drawn, rows inside them are not drawn again.
    """

    def __init__(self, clusters: Sequence[str], *, seed: int, resamples: int = 1_000, level: float = 0.90) -> None:
        if resamples < 1 or not 0 < level < 1:
            raise ValueError("Bootstrap: needs resamples >= 1 and 0 < level < 1")
        self.n, self.resamples, self.seed, self.level = len(clusters), resamples, seed, level
        self.weights = bootstrap_weights(clusters, resamples=resamples, seed=seed)
        self._index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)[1]

    def mean(self, values: Values, *, metric: str, policy: str, split: str) -> Estimate:
        """The mean of `values: [n]` with its interval."""
        kept, (x,) = _complete(self.n, values)
        return self._estimate(_Name(metric, policy, split), kept, _mean(_ones(x), x), _mean(self.weights[:, kept], x))

    def difference(
        self, values: Values, baseline_values: Values, *, metric: str, policy: str, baseline: str, split: str
    ) -> Estimate:
        """The mean of `values - baseline_values`, both `[n]`, over the rows where both are there."""
        kept, (x, y) = _complete(self.n, values, baseline_values)
        gap = x - y
        name = _Name(metric, policy, split, baseline)
        return self._estimate(name, kept, _mean(_ones(gap), gap), _mean(self.weights[:, kept], gap))

    def f1(
        self, true: npt.ArrayLike, predicted: npt.ArrayLike, *, metric: str, policy: str, split: str
    ) -> tuple[Estimate, Estimate]:
        """Micro F1 and macro F1 over `L` labels, named `metric.micro_f1_L` and `metric.macro_f1_L`.

        true, predicted: `[n, L]`, 0 or 1; a row with a missing entry is left out.
        Micro pools the counts of all labels; None when nothing is true or predicted. Macro is the plain mean of F1 over
        the labels that have a true case, on the full set and on each resample alike: the F1 of a label without one is
        undefined, not 0. With a true case for every label both values equal scikit-learn's `f1_score`.
        """
        kept, (t, p) = _binary(self.n, true, predicted)
        point, draws = _sums(_ones(t), t, p), _sums(self.weights[:, kept], t, p)
        micro, macro = _f1_names(metric, policy, split, t.shape[1])
        return (
            self._estimate(micro, kept, _micro(point), _micro(draws)),
            self._estimate(macro, kept, _macro(point), _macro(draws), _absent(t)),
        )

    def f1_difference(
        self,
        true: npt.ArrayLike,
        predicted: npt.ArrayLike,
        baseline_predicted: npt.ArrayLike,
        *,
        metric: str,
        policy: str,
        baseline: str,
        split: str,
    ) -> tuple[Estimate, Estimate]:
        """Micro and macro F1 of `predicted` minus those of `baseline_predicted`, on the same resamples; see `f1`."""
        kept, (t, p, b) = _binary(self.n, true, predicted, baseline_predicted)
        one, weights = _ones(t), self.weights[:, kept]
        point, draws = _sums(one, t, p), _sums(weights, t, p)
        base_point, base_draws = _sums(one, t, b), _sums(weights, t, b)
        micro, macro = _f1_names(metric, policy, split, t.shape[1], baseline)
        return (
            self._estimate(micro, kept, _micro(point) - _micro(base_point), _micro(draws) - _micro(base_draws)),
            self._estimate(
                macro, kept, _macro(point) - _macro(base_point), _macro(draws) - _macro(base_draws), _absent(t)
            ),
        )

    def label_f1(
        self,
        true: npt.ArrayLike,
        predicted: npt.ArrayLike,
        *,
        labels: Sequence[str],
        metric: str,
        policy: str,
        split: str,
    ) -> list[Estimate]:
        """The F1 of each label, named `metric.f1.LABEL`; None for a label without a true case.

        Resamples without a true case of the label have no F1 and are left out of its interval; `method` tells the
        number of true cases, which says more about such an interval than `n` does.
        """
        kept, (t, p) = _binary(self.n, true, predicted)
        if len(labels) != t.shape[1]:
            raise ValueError(f"label_f1: {len(labels)} labels for {t.shape[1]} columns")
        point, draws = _per_label(_sums(_ones(t), t, p)), _per_label(_sums(self.weights[:, kept], t, p))
        return [
            self._estimate(
                _Name(f"{metric}.f1.{label}", policy, split),
                kept,
                point[:, i],
                draws[:, i],
                f"; {int(t[:, i].sum())} true cases",
            )
            for i, label in enumerate(labels)
        ]

    def _estimate(self, name: _Name, kept: Bools, point: Floats, draws: Floats, note: str = "") -> Estimate:
        n, n_clusters = int(kept.sum()), len(np.unique(self._index[kept]))
        value = float(point[0]) if np.isfinite(point[0]) else None
        low = high = None
        if value is None:
            method = "no value: nothing to average"
        elif n_clusters < FEWEST_CLUSTERS:
            method = f"no interval: {n_clusters} clusters, fewer than {FEWEST_CLUSTERS}"
        else:
            tail = (1 - self.level) / 2
            low, high = (float(q) for q in np.nanquantile(draws, [tail, 1 - tail]))
            method = f"percentile bootstrap, {self.resamples} resamples of {n_clusters} clusters, seed {self.seed}"
        if n < self.n:
            note += f"; {self.n - n} of {self.n} rows unscored and left out"
        return Estimate(
            metric=name.metric,
            policy=name.policy,
            split=name.split,
            value=value,
            low=low,
            high=high,
            level=self.level,
            n=n,
            n_clusters=n_clusters,
            method=method + note,
            baseline=name.baseline,
        )


def paired_p(
    values: Values, baseline_values: Values, *, clusters: Sequence[str], seed: int, flips: int = 9_999
) -> float:
    """The two-sided p of a sign-flip test that the mean of `values - baseline_values` is 0.

    The signs of the differences of one cluster flip together. p = (b + 1) / (flips + 1), with b the flips whose
    absolute mean reaches the observed one: never 0, and 1 for identical systems. Rows where either is missing are left
    out. Source: Phipson and Smyth 2010 for the + 1.
    """
    kept, (x, y) = _complete(len(clusters), values, baseline_values)
    index, n_clusters = _numbered(clusters, kept)
    by_cluster = np.bincount(index, weights=x - y, minlength=n_clusters)
    reached, observed = 0, abs(by_cluster.sum())
    for swap in _swaps(n_clusters, flips, seed):
        reached += _count_reaching(by_cluster.sum() - 2 * (swap @ by_cluster), observed)
    return (reached + 1) / (flips + 1)


def paired_f1_p(
    true: npt.ArrayLike,
    predicted: npt.ArrayLike,
    baseline_predicted: npt.ArrayLike,
    *,
    average: Literal["micro", "macro"],
    clusters: Sequence[str],
    seed: int,
    flips: int = 9_999,
) -> float:
    """The two-sided p of an approximate randomization test that two systems have the same F1.

    Each flip swaps the two systems' predictions on a random half of the clusters. p, the missing and `average` are as
    in `paired_p` and `Bootstrap.f1`. Source: Yeh 2000.
    """
    kept, (t, p, b) = _binary(len(clusters), true, predicted, baseline_predicted)
    index, _ = _numbered(clusters, kept)
    statistic = {"micro": _micro, "macro": _macro}[average]
    one = _ones(t)
    mine, theirs = _sums(one, t, p), _sums(one, t, b)
    observed = abs(statistic(mine) - statistic(theirs))[0]
    reached = 0
    for swap in _swaps(int(index.max(initial=-1)) + 1, flips, seed):
        rows = swap[:, index]
        moved_hits, moved_calls = rows @ (t * b - t * p), rows @ (b - p)
        first = _Sums(mine.hits + moved_hits, mine.true, mine.called + moved_calls)
        second = _Sums(theirs.hits - moved_hits, theirs.true, theirs.called - moved_calls)
        reached += _count_reaching(statistic(first) - statistic(second), observed)
    return (reached + 1) / (flips + 1)


def _swaps(n_clusters: int, flips: int, seed: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    for start in range(0, flips, _FLIPS_AT_ONCE):
        yield rng.integers(0, 2, size=(min(_FLIPS_AT_ONCE, flips - start), n_clusters)).astype(np.float64)


def _count_reaching(draws: Floats, observed: float) -> int:
    return int((np.abs(draws) >= observed * (1 - 1e-9) - 1e-12).sum())  # equal up to rounding counts as reached


def _numbered(clusters: Sequence[str], kept: Bools) -> tuple[npt.NDArray[np.intp], int]:
    names, index = np.unique(np.asarray(clusters, dtype=str)[kept], return_inverse=True)
    return index, len(names)


def _complete(n: int, *columns: Values) -> tuple[Bools, list[Floats]]:
    """Which rows have every value, and the columns on those rows."""
    arrays = [np.asarray(c, dtype=np.float64) for c in columns]  # None becomes NaN
    if any(a.shape != (n,) for a in arrays):
        raise ValueError(f"stats: values must be [{n}], one per cluster entry, not {[a.shape for a in arrays]}")
    if any(np.isinf(a).any() for a in arrays):
        raise ValueError("stats: a value is infinite")
    kept = ~np.any([np.isnan(a) for a in arrays], axis=0)
    return kept, [a[kept] for a in arrays]


def _binary(n: int, *tables: npt.ArrayLike) -> tuple[Bools, list[Floats]]:
    """Which rows have every label, and the tables on those rows as 0.0 and 1.0."""
    arrays = [np.asarray(t, dtype=np.float64) for t in tables]
    if any(a.ndim != 2 or a.shape != arrays[0].shape or len(a) != n for a in arrays):
        raise ValueError(f"stats: labels must be [{n}, L] in truth and predictions, not {[a.shape for a in arrays]}")
    kept = ~np.any([np.isnan(a).any(axis=1) for a in arrays], axis=0)
    arrays = [a[kept] for a in arrays]
    if not all(np.isin(a, (0.0, 1.0)).all() for a in arrays):
        raise ValueError("stats: labels must be 0 or 1")
    return kept, arrays


def _ones(rows: Floats) -> Floats:
    return np.ones((1, len(rows)))


def _mean(weights: Floats, values: Floats) -> Floats:
    return _divide(weights @ values, weights.sum(axis=1), np.nan)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Weighted counts `[R, L]`: true and called, true, called."""

    hits: Floats
    true: Floats
    called: Floats


def _sums(weights: Floats, true: Floats, predicted: Floats) -> _Sums:
    return _Sums(weights @ (true * predicted), weights @ true, weights @ predicted)


def _per_label(s: _Sums) -> Floats:
    f1 = _divide(2 * s.hits, s.true + s.called, np.nan)  # 2tp / (2tp + fp + fn)
    return np.where(s.true > 0, f1, np.nan)


def _macro(s: _Sums) -> Floats:
    f1 = _per_label(s)
    return _divide(np.nansum(f1, axis=1), (~np.isnan(f1)).sum(axis=1).astype(np.float64), np.nan)


def _micro(s: _Sums) -> Floats:
    return _divide(2 * s.hits.sum(axis=1), (s.true + s.called).sum(axis=1), np.nan)


def _divide(top: Floats, bottom: Floats, empty: float) -> Floats:
    return np.divide(top, bottom, out=np.full_like(top, empty), where=bottom > 0)


def _f1_names(metric: str, policy: str, split: str, n_labels: int, baseline: str | None = None) -> list[_Name]:
    return [_Name(f"{metric}.{kind}_f1_{n_labels}", policy, split, baseline) for kind in ("micro", "macro")]


def _absent(true: Floats) -> str:
    absent = int((true.sum(axis=0) == 0).sum())
    return f"; {absent} of {true.shape[1]} labels have no true case and are left out" if absent else ""
