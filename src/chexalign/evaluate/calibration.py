"""Whether confidence means what it says: reliability bins, and how far confidence is from accuracy on average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chexalign.stats import FEWEST_CLUSTERS, Bootstrap
from chexalign.types import Estimate

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers whose confidence is above `low` and at most `high` (0 is in the first), and how many are right."""

    low: float
    high: float
    confidence: Estimate
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """The bins of one group of answers, and their expected calibration error (ECE)."""

    group: str
    bins: tuple[Bin, ...]
    ece: Estimate


@dataclass(frozen=True)
class Calibrator:
    """Compares confidence with accuracy for one policy; `clusters` are the patients, one per answer.

    Source: Guo et al. 2017 for bins of equal width and ECE. On finite data ECE is above 0 even for a policy that is
    calibrated, and a resample is less smooth than the data, so that the interval may lie above the value: read it
    beside the number of answers.
    """

    clusters: Sequence[str]
    policy: str
    split: str
    seed: int
    n_bins: int = 10
    resamples: int = 1_000
    level: float = 0.90

    def overall(self, confidences: Sequence[float | None], correct: Sequence[bool]) -> Calibration:
        """Of all answers; one without confidence is left out and counted in `method`."""
        return self._calibrate("all", self.clusters, confidences, correct)

    def by_type(
        self, confidences: Sequence[float | None], correct: Sequence[bool], types: Sequence[str]
    ) -> list[Calibration]:
        """Of the answers to each type of question, types in the order of their names."""
        found = []
        for name in sorted(set(types)):
            rows = [i for i, own in enumerate(types) if own == name]
            clusters, sure = [self.clusters[i] for i in rows], [confidences[i] for i in rows]
            found.append(self._calibrate(name, clusters, sure, [correct[i] for i in rows]))
        return found

    def _calibrate(
        self, group: str, clusters: Sequence[str], confidences: Sequence[float | None], correct: Sequence[bool]
    ) -> Calibration:
        sure, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
        if not len(clusters) == len(sure) == len(right):
            raise ValueError("calibration: confidences, correct and clusters have one entry per answer")
        if ((sure < 0) | (sure > 1)).any():
            raise ValueError("calibration: a confidence lies between 0 and 1")
        bootstrap = Bootstrap(clusters, seed=self.seed, resamples=self.resamples, level=self.level)
        places = np.clip(np.ceil(sure * self.n_bins) - 1, 0, self.n_bins - 1)  # NaN stays NaN, and is in no bin
        inside = (places[:, None] == np.arange(self.n_bins)).astype(np.float64)
        bins = tuple(self._bin(bootstrap, group, i, inside[:, i] > 0, sure, right) for i in range(self.n_bins))
        return Calibration(group, bins, self._ece(bootstrap, group, inside, sure, right, len(set(clusters))))

    def _bin(self, bootstrap: Bootstrap, group: str, i: int, own: npt.NDArray[np.bool_], *values: Floats) -> Bin:
        sure, right = (
            bootstrap.mean(
                np.where(own, value, np.nan), metric=f"{name}.{group}.bin{i}", policy=self.policy, split=self.split
            )
            for name, value in zip(("confidence", "accuracy"), values, strict=True)
        )
        return Bin(i / self.n_bins, (i + 1) / self.n_bins, sure, right)

    def _ece(
        self, bootstrap: Bootstrap, group: str, inside: Floats, sure: Floats, right: Floats, n_clusters: int
    ) -> Estimate:
        gaps = inside * np.nan_to_num(right - sure)[:, None]
        known = inside.sum(axis=1)
        n, missing = int(known.sum()), int(len(known) - known.sum())
        value = low = high = None
        method = "no value: no answer has a confidence"
        if n:
            value = float(np.abs(gaps.sum(axis=0)).sum() / n)
            method = f"no interval: {n_clusters} clusters, fewer than {FEWEST_CLUSTERS}"
        if n and n_clusters >= FEWEST_CLUSTERS:
            weighed = bootstrap.weights @ known
            draws = np.abs(bootstrap.weights @ gaps).sum(axis=1)[weighed > 0] / weighed[weighed > 0]
            tail = (1 - self.level) / 2
            low, high = (float(q) for q in np.quantile(draws, [tail, 1 - tail]))
            method = f"percentile bootstrap, {self.resamples} resamples of {n_clusters} clusters, seed {self.seed}"
        method += f"; {self.n_bins} bins of equal width"
        if missing:
            method += f"; {missing} of {len(known)} answers have no confidence and are left out"
        return Estimate(f"ece.{group}", self.policy, self.split, value, low, high, self.level, n, n_clusters, method)
