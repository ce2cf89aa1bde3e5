"""Paired tests of two systems on the same rows, and the correction for testing several metrics at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from chexalign.stats.f1 import Counts, macro, micro
from chexalign.stats.sums import Bools, Floats, Values, binary, cluster_sums, complete, numbered
from chexalign.types import Comparison

_FLIPS_AT_ONCE = 1_000  # bounds memory; part of the random stream, so not an option
_AVERAGES = {"micro": micro, "macro": macro}


class PairedTests:
    """Approximate randomization tests of two systems over one fixed list of rows.

    Were the systems alike, exchanging their outputs on any clusters would change nothing but chance. So each of `flips`
    swaps exchanges them on a random half of the clusters, rows of one cluster together, and b counts the swaps whose
    absolute difference reaches the observed one: p = (b + 1) / (flips + 1), two-sided, never 0, and 1 for equal
    systems. Where all swaps of the clusters, the empty one aside, number no more than `flips`, each is taken once, and
    the same formula gives the exact p.
    `clusters` and the missing are as in `Bootstrap`. Correct what is tested together by `with_holm`.

    Example: `PairedTests(patient_ids, seed=1).mean(dpo, sft, metric="green", policy="dpo", baseline="sft")`.
    Source: Noreen 1989; Yeh 2000 for F1; Phipson and Smyth 2010 for the + 1.
    """

    def __init__(self, clusters: Sequence[str], *, seed: int, flips: int = 9_999) -> None:
        self.clusters, self.seed, self.flips = clusters, seed, flips

    def mean(self, values: Values, baseline_values: Values, *, metric: str, policy: str, baseline: str) -> Comparison:
        """Whether the mean of `values - baseline_values`, both `[n]`, differs from 0."""
        kept, (x, y) = complete(len(self.clusters), values, baseline_values)
        delta = float(np.mean(x - y)) if len(x) else None
        p = paired_p(values, baseline_values, clusters=self.clusters, seed=self.seed, flips=self.flips)
        return self._comparison(metric, policy, baseline, delta, p, kept)

    def f1(
        self,
        true: npt.ArrayLike,
        predicted: npt.ArrayLike,
        baseline_predicted: npt.ArrayLike,
        *,
        metric: str,
        policy: str,
        baseline: str,
    ) -> tuple[Comparison, Comparison]:
        """Whether micro and macro F1 differ, both by the same swaps; named and computed as in `Bootstrap.f1`."""
        kept, (t, p, b) = binary(len(self.clusters), true, predicted, baseline_predicted)
        found = _f1_ps((t, p, b), _names(self.clusters, kept), seed=self.seed, flips=self.flips)
        micro_, macro_ = (
            self._comparison(f"{metric}.{average}_f1_{t.shape[1]}", policy, baseline, *found[average], kept)
            for average in _AVERAGES
        )
        return micro_, macro_

    def _comparison(
        self, metric: str, policy: str, baseline: str, delta: float | None, p: float, kept: Bools
    ) -> Comparison:
        if delta is None or np.isnan(delta):
            return Comparison(metric, policy, baseline, None, None, None, "no test: nothing to compare")
        n_clusters = len(set(_names(self.clusters, kept)))
        swaps = "all" if _all_fit(n_clusters, self.flips) else f"{self.flips}"
        test = f"{'exact' if swaps == 'all' else 'approximate'} randomization, {swaps} swaps of {n_clusters} clusters"
        test += "" if swaps == "all" else f", seed {self.seed}"
        if (left_out := int((~kept).sum())) > 0:
            test += f"; {left_out} of {len(kept)} rows unscored and left out"
        return Comparison(metric, policy, baseline, delta, p, None, test)


def paired_p(
    values: Values, baseline_values: Values, *, clusters: Sequence[str], seed: int, flips: int = 9_999
) -> float:
    """The two-sided p of a sign-flip test that the mean of `values - baseline_values` is 0; see `PairedTests`.

    To exchange two values is to flip the sign of their difference, and the signs of one cluster flip together.
    """
    kept, (x, y) = complete(len(clusters), values, baseline_values)
    index, n_clusters = numbered(_names(clusters, kept))
    by_cluster = cluster_sums(x - y, index, n_clusters)
    reached, tried, observed = 0, 0, abs(by_cluster.sum())
    for swap in _swaps(n_clusters, flips, seed):
        reached += _count_reaching(by_cluster.sum() - 2 * (swap @ by_cluster), observed)
        tried += len(swap)
    return (reached + 1) / (tried + 1)


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
    """The two-sided p of an approximate randomization test that two systems have the same F1; see `PairedTests`.

    1 where the F1 of a system is undefined: nothing was compared.
    """
    kept, tables = binary(len(clusters), true, predicted, baseline_predicted)
    return _f1_ps(tables, _names(clusters, kept), seed=seed, flips=flips)[average][1]


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """The p of each test, corrected so that all of them together err as seldom as one of them alone would.

    The i-th smallest of m is multiplied by m - i + 1, none is smaller than one before it, and none exceeds 1. None
    stands for a test that was not made: it stays None and is not counted.
    Source: Holm 1979.
    """
    made = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    largest = 0.0
    for rank, (p, i) in enumerate(made):
        largest = max(largest, min(1.0, (len(made) - rank) * p))
        adjusted[i] = largest
    return adjusted


def with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons, in order, with `p_holm` over all of them: pass those that one claim is made from."""
    adjusted = holm([c.p for c in comparisons])
    return [dataclasses.replace(c, p_holm=p) for c, p in zip(comparisons, adjusted, strict=True)]


def _f1_ps(
    tables: Sequence[Floats], clusters: Sequence[str], *, seed: int, flips: int
) -> Mapping[str, tuple[float, float]]:
    """Difference and p of each average, from truth and two predictions `[n, L]`."""
    t, p, b = tables
    index, n_clusters = numbered(clusters)
    by_cluster = cluster_sums(np.hstack([t, t * p, p, t * b, b]), index, n_clusters)
    total, hits, called, base_hits, base_called = np.hsplit(by_cluster, 5)
    truth = total.sum(axis=0, keepdims=True)
    mine = Counts(hits.sum(axis=0, keepdims=True), truth, called.sum(axis=0, keepdims=True))
    theirs = Counts(base_hits.sum(axis=0, keepdims=True), truth, base_called.sum(axis=0, keepdims=True))
    deltas = {name: float((f1(mine) - f1(theirs))[0]) for name, f1 in _AVERAGES.items()}
    gaps = np.hstack([base_hits - hits, base_called - called])
    reached, tried = dict.fromkeys(_AVERAGES, 0), 0
    for swap in _swaps(n_clusters, flips, seed):
        moved_hits, moved_called = np.hsplit(swap @ gaps, 2)
        first = Counts(mine.hits + moved_hits, truth, mine.called + moved_called)
        second = Counts(theirs.hits - moved_hits, truth, theirs.called - moved_called)
        for name, f1 in _AVERAGES.items():
            reached[name] += _count_reaching(f1(first) - f1(second), abs(deltas[name]))
        tried += len(swap)
    return {name: (deltas[name], (reached[name] + 1) / (tried + 1)) for name in _AVERAGES}


def _all_fit(n_clusters: int, flips: int) -> bool:
    return bool(2**n_clusters - 1 <= flips)


def _swaps(n_clusters: int, flips: int, seed: int) -> Iterator[Floats]:
    """Blocks `[<= 1000, G]` of swaps, 1 where a cluster is exchanged: all but the empty one, or random ones."""
    rng = np.random.default_rng(seed)
    everything = _all_fit(n_clusters, flips)
    last, row_bytes = 2**n_clusters if everything else flips + 1, -(-n_clusters // 8)
    for start in range(1, last, _FLIPS_AT_ONCE):
        size = min(_FLIPS_AT_ONCE, last - start)
        if everything:
            yield (np.arange(start, start + size)[:, None] >> np.arange(n_clusters) & 1).astype(np.float64)
        else:
            coins = np.frombuffer(rng.bytes(size * row_bytes), dtype=np.uint8).reshape(size, row_bytes)
            yield np.unpackbits(coins, axis=1, count=n_clusters).astype(np.float64)


def _count_reaching(draws: Floats, observed: float) -> int:
    """How many draws reach the observed difference; equal up to rounding counts, and so does an undefined draw."""
    return int((~(np.abs(draws) < observed * (1 - 1e-9) - 1e-12)).sum())


def _names(clusters: Sequence[str], kept: Bools) -> list[str]:
    return [name for name, there in zip(clusters, kept, strict=True) if there]
