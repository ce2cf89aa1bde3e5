"""Intervals over per-study values that were computed once; the tests of differences stand in `randomization`.

A metric is never computed again on a resample: every statistic here is a function of weighted sums, and the weights of
all resamples are one matrix `[resamples, n]`, shared by every metric of a run. So two systems meet the same resamples,
and an interval costs one matrix product.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from chexalign.stats.bca import Interval, bca, percentile
from chexalign.stats.f1 import Counts, LabelSets, absent, macro, micro, per_label
from chexalign.stats.sums import (
    Bools,
    Floats,
    Values,
    binary,
    bootstrap_weights,
    cluster_sums,
    complete,
    divide,
    numbered,
)
from chexalign.types import Estimate

FEWEST_CLUSTERS = 20  # intervals over fewer are too short to print
_SETS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class _Name:
    """What an estimate is about."""

    metric: str
    policy: str
    split: str
    baseline: str | None = None


class Bootstrap:
    """Bootstrap intervals for one fixed list of rows (one row per study, in the same order everywhere).

    `clusters` names what is resampled, one entry per row: the study, or the patient when patients have several studies.
    The value of an estimate is the statistic on the full set (the CheXalign paper prints the mean over resamples);
    the bounds are quantiles of the same statistic over the resamples, not symmetric about the value. `interval` says
    which quantiles: `percentile`, or `bca`, which corrects for bias and skewness and falls back to `percentile` where
    it is undefined, with the reason in `method`.
    A missing value (None or NaN) is left out and counted in `method`; it is never 0.
    Below 20 clusters `low` and `high` are None and `method` says so.

    Example: `Bootstrap(patient_ids, seed=1).mean(green, metric="green", policy="dpo", split="test")`.
    Raises ValueError when an array does not have one row per cluster entry, or holds an infinite value.
    Source: Efron and Tibshirani 1993, chapters 13 and 14; whole clusters are drawn, rows inside them not again.
    """

    def __init__(
        self,
        clusters: Sequence[str],
        *,
        seed: int,
        resamples: int = 1_000,
        level: float = 0.90,
        interval: Interval = "percentile",
    ) -> None:
        if resamples < 1 or not 0 < level < 1 or interval not in get_args(Interval):
            raise ValueError(f"Bootstrap: needs resamples >= 1, 0 < level < 1 and interval in {get_args(Interval)}")
        self.n, self.resamples, self.seed, self.level, self.interval = len(clusters), resamples, seed, level, interval
        self.weights = bootstrap_weights(clusters, resamples=resamples, seed=seed)
        self._index, self._n_clusters = numbered(clusters)

    def using(self, interval: Interval) -> Bootstrap:
        """The same resamples with another kind of interval; the weights are shared, not copied."""
        other = copy.copy(self)
        other.interval = interval
        return other

    def only(self, rows: Bools) -> Bootstrap:
        """The same resamples over some of the rows `[n]`, such as a slice of the studies; no cluster is drawn again."""
        if rows.shape != (self.n,):
            raise ValueError(f"stats: rows must be [{self.n}], not {rows.shape}")
        other = copy.copy(self)
        other.n, other.weights, other._index = int(rows.sum()), self.weights[:, rows], self._index[rows]
        return other

    def mean(self, values: Values, *, metric: str, policy: str, split: str) -> Estimate:
        """The mean of `values: [n]` with its interval."""
        kept, (x,) = complete(self.n, values)
        return self._estimate(_Name(metric, policy, split), kept, self._means(kept, x))

    def difference(
        self, values: Values, baseline_values: Values, *, metric: str, policy: str, baseline: str, split: str
    ) -> Estimate:
        """The mean of `values - baseline_values`, both `[n]`, over the rows where both are there."""
        kept, (x, y) = complete(self.n, values, baseline_values)
        return self._estimate(_Name(metric, policy, split, baseline), kept, self._means(kept, x - y))

    def of_sums(
        self,
        columns: Sequence[Values],
        statistic: Callable[[Floats], Floats],
        *,
        metric: str,
        policy: str,
        split: str,
        baseline: str | None = None,
    ) -> Estimate:
        """Any statistic that is a function of sums over rows, such as a ratio or a slope.

        columns: K of them, `[n]` each; a row that misses one is left out. `statistic` turns `[S, K]`, the sums of the
        columns over S sets of rows, into `[S]`, with NaN where it is undefined; a column of ones counts the rows.
        """
        kept, found = complete(self.n, *columns)
        (sums,) = self._sums(kept, np.stack(found, axis=1))
        return self._estimate(_Name(metric, policy, split, baseline), kept, statistic(sums))

    def of_weights(
        self,
        columns: Sequence[Values],
        statistic: Callable[..., Floats],
        *,
        metric: str,
        policy: str,
        split: str,
        baseline: str | None = None,
    ) -> Estimate:
        """Any statistic at all, such as a fit, that can weigh rows.

        columns: K of them, `[n]` each; a row that misses one is left out. `statistic(weights, *columns)` gets weights
        `[S, n_kept]` of S sets of rows and the kept columns, and gives `[S]`, with NaN where it is undefined.
        It is called on blocks of sets, which bounds its memory. Cost: a fit per resample, and with BCa per cluster.
        """
        kept, found = complete(self.n, *columns)
        blocks = np.concatenate([statistic(block, *found) for block in self._blocks(kept)])
        return self._estimate(_Name(metric, policy, split, baseline), kept, blocks)

    def f1(
        self, true: npt.ArrayLike, predicted: npt.ArrayLike, *, metric: str, policy: str, split: str
    ) -> tuple[Estimate, Estimate]:
        """Micro F1 and macro F1 over `L` labels, named `metric.micro_f1_L` and `metric.macro_f1_L`.

        true, predicted: `[n, L]`, 0 or 1; a row with a missing entry is left out.
        Micro pools the counts of all labels; None when nothing is true or predicted. Macro is the plain mean of F1 over
        the labels that have a true case, on the full set and on each resample alike: the F1 of a label without one is
        undefined, not 0. With a true case for every label both values equal scikit-learn's `f1_score`.
        """
        kept, (t, p) = binary(self.n, true, predicted)
        counts = self._counts(kept, t, p)
        name = _f1_names(metric, policy, split, t.shape[1])
        return (
            self._estimate(name[0], kept, micro(counts)),
            self._estimate(name[1], kept, macro(counts), absent(t.sum(axis=0))),
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
        kept, (t, p, b) = binary(self.n, true, predicted, baseline_predicted)
        mine, theirs = self._counts(kept, t, p), self._counts(kept, t, b)
        name = _f1_names(metric, policy, split, t.shape[1], baseline)
        return (
            self._estimate(name[0], kept, micro(mine) - micro(theirs)),
            self._estimate(name[1], kept, macro(mine) - macro(theirs), absent(t.sum(axis=0))),
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
        kept, (t, p) = binary(self.n, true, predicted)
        _need_labels("label_f1", labels, t)
        values = per_label(self._counts(kept, t, p), "f1")
        return [
            self._estimate(
                _Name(f"{metric}.f1.{label}", policy, split), kept, values[:, i], f"; {int(t[:, i].sum())} true cases"
            )
            for i, label in enumerate(labels)
        ]

    def f1_report(
        self,
        true: npt.ArrayLike,
        predicted: npt.ArrayLike,
        *,
        labels: Sequence[str],
        subsets: Sequence[Sequence[str]] = (),
        metric: str,
        policy: str,
        split: str,
    ) -> list[Estimate]:
        """F1, precision and recall, micro, macro and of each label, from one product of weights and labels.

        `subsets` are further sets of labels to average over. Names are `metric.micro_f1_14`, `metric.macro_recall_5`
        (the number is the size of the set) and `metric.precision.LABEL`. Where a measure is undefined it is None, and
        an average leaves it out: F1 and recall without a true case, precision without a called one; see `f1`.
        """
        kept, (t, p) = binary(self.n, true, predicted)
        _need_labels("f1_report", labels, t)
        sets = LabelSets(tuple(labels), tuple(tuple(names) for names in subsets))
        notes = sets.notes(t)
        return [
            self._estimate(_Name(f"{metric}.{name}", policy, split), kept, values, notes.get(name, ""))
            for name, values in sets.measures(self._counts(kept, t, p))
        ]

    def f1_report_difference(
        self,
        true: npt.ArrayLike,
        predicted: npt.ArrayLike,
        baseline_predicted: npt.ArrayLike,
        *,
        labels: Sequence[str],
        subsets: Sequence[Sequence[str]] = (),
        metric: str,
        policy: str,
        baseline: str,
        split: str,
    ) -> list[Estimate]:
        """Every number of `f1_report` of `predicted` minus that of `baseline_predicted`, on the same resamples."""
        kept, (t, p, b) = binary(self.n, true, predicted, baseline_predicted)
        _need_labels("f1_report_difference", labels, t)
        sets = LabelSets(tuple(labels), tuple(tuple(names) for names in subsets))
        notes, theirs = sets.notes(t), dict(sets.measures(self._counts(kept, t, b)))
        return [
            self._estimate(
                _Name(f"{metric}.{name}", policy, split, baseline), kept, mine - theirs[name], notes.get(name, "")
            )
            for name, mine in sets.measures(self._counts(kept, t, p))
        ]

    def _sums(self, kept: Bools, *tables: Floats) -> list[Floats]:
        """Sums of each table of the kept rows, `[n_kept]` or `[n_kept, K]`, over S sets of rows: `[S]` or `[S, K]`.

        The sets are all rows, each resample and, for BCa, all rows without each cluster in turn.
        """
        weights, index = self.weights if kept.all() else self.weights[:, kept], self._index[kept]
        there = np.unique(index)
        found = []
        for table in tables:
            whole = np.ones((1, len(table))) @ table
            sets = [whole, weights @ table]
            if self.interval == "bca":
                sets.append(whole - cluster_sums(table, index, self._n_clusters)[there])
            found.append(np.concatenate(sets))
        return found

    def _blocks(self, kept: Bools) -> Iterator[Floats]:
        """The weights of the sets of `_sums` over the kept rows, block by block."""
        n, index = int(kept.sum()), self._index[kept]
        yield np.ones((1, n))
        for start in range(0, self.resamples, _SETS_AT_ONCE):
            yield self.weights[start : start + _SETS_AT_ONCE, kept]
        there = np.unique(index) if self.interval == "bca" else np.empty(0, dtype=np.intp)
        for start in range(0, len(there), _SETS_AT_ONCE):
            yield (index != there[start : start + _SETS_AT_ONCE, None]).astype(np.float64)

    def _means(self, kept: Bools, x: Floats) -> Floats:
        return divide(*self._sums(kept, x, np.ones(len(x))))

    def _counts(self, kept: Bools, true: Floats, predicted: Floats) -> Counts:
        return Counts.summed(true, predicted, lambda columns: self._sums(kept, columns)[0])

    def _estimate(self, name: _Name, kept: Bools, statistic: Floats, note: str = "") -> Estimate:
        n, n_clusters = int(kept.sum()), len(np.unique(self._index[kept]))
        value = float(statistic[0]) if n and np.isfinite(statistic[0]) else None
        bounds: tuple[float, float] | tuple[None, None] = (None, None)
        if value is None:
            method = "no value: nothing to average"
        elif n_clusters < FEWEST_CLUSTERS:
            method = f"no interval: {n_clusters} clusters, fewer than {FEWEST_CLUSTERS}"
        elif not np.isfinite(statistic[1 : self.resamples + 1]).any():
            method = "no interval: the statistic is undefined on every resample"
        else:
            bounds, kind, why = self._bounds(value, statistic)
            method = f"{kind} bootstrap, {self.resamples} resamples of {n_clusters} clusters, seed {self.seed}{why}"
        if n < self.n:
            note += f"; {self.n - n} of {self.n} rows unscored and left out"
        return Estimate(
            metric=name.metric,
            policy=name.policy,
            split=name.split,
            value=value,
            low=bounds[0],
            high=bounds[1],
            level=self.level,
            n=n,
            n_clusters=n_clusters,
            method=method + note,
            baseline=name.baseline,
        )

    def _bounds(self, value: float, statistic: Floats) -> tuple[tuple[float, float], str, str]:
        """The bounds, which kind they are, and why they are not of the kind that was asked for."""
        draws, without = statistic[1 : self.resamples + 1], statistic[self.resamples + 1 :]
        why = ""
        if self.interval == "bca":
            found = bca(value, draws, without, self.level)
            if not isinstance(found, str):
                return found, "BCa", why
            why = f"; no BCa interval: {found}"
        return percentile(draws, self.level), "percentile", why


def _need_labels(caller: str, labels: Sequence[str], table: Floats) -> None:
    if len(labels) != table.shape[1]:
        raise ValueError(f"{caller}: {len(labels)} labels for {table.shape[1]} columns")


def _f1_names(metric: str, policy: str, split: str, n_labels: int, baseline: str | None = None) -> list[_Name]:
    return [_Name(f"{metric}.{kind}_f1_{n_labels}", policy, split, baseline) for kind in ("micro", "macro")]
