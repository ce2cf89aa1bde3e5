"""Whether confidence means what it says: reliability bins, and how far confidence is from accuracy on average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chexalign.stats import Bootstrap
from chexalign.stats.sums import Floats, Values, divide
from chexalign.types import Estimate


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers whose confidence is above `low` and at most `high` (0 is in the first), and how many are right."""

    low: float
    high: float
    confidence: Estimate
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """The bins of one group of a policy's answers, and their expected calibration error (ECE)."""

    group: str
    bins: tuple[Bin, ...]
    ece: Estimate

    @staticmethod
    def of(row: Mapping[str, Any]) -> Calibration:
        """From JSON."""
        bins = (
            Bin(one["low"], one["high"], Estimate(**one["confidence"]), Estimate(**one["accuracy"]))
            for one in row["bins"]
        )
        return Calibration(row["group"], tuple(bins), Estimate(**row["ece"]))


@dataclass(frozen=True)
class Calibrator:
    """Compares confidence with accuracy for one policy; rows are those of `bootstrap`, one per answer.

    An answer without confidence is left out and counted in `method`.
    Source: Guo et al. 2017 for bins of equal width and ECE. On finite data ECE is above 0 even for a policy that is
    calibrated, and a resample is less smooth than the data, so that the interval may lie above the value: read it
    beside the number of answers.
    """

    bootstrap: Bootstrap
    policy: str
    split: str
    n_bins: int = 10

    def calibrate(self, group: str, confidences: Values, correct: Values) -> Calibration:
        """The bins and the ECE of the answers to one type of question; both columns are `[n]`.

        Raises: ValueError for a confidence that is not between 0 and 1.
        """
        sure, right = _columns(confidences, correct)
        inside = self._inside(sure)
        bins = tuple(self._bin(group, i, inside[:, i] > 0, sure, right) for i in range(self.n_bins))
        ece = self.bootstrap.of_sums(
            self._gaps(sure, right), _ece, metric=f"vqa.{group}.ece", policy=self.policy, split=self.split
        )
        return Calibration(group, bins, self._told(ece))

    def by_type(self, confidences: Values, correct: Values, types: Sequence[str]) -> list[Calibration]:
        """The same for each type of question, types in the order of their names."""
        found, (sure, right) = [], _columns(confidences, correct)
        for name in sorted(set(types)):
            rows = np.array([one == name for one in types])
            part = replace(self, bootstrap=self.bootstrap.only(rows))
            found.append(part.calibrate(name, sure[rows], right[rows]))
        return found

    def difference(
        self, group: str, mine: tuple[Values, Values], theirs: tuple[Values, Values], *, baseline: str
    ) -> Estimate:
        """The ECE less that of the baseline, on the answers that both have a confidence for.

        `mine` and `theirs` are confidences and whether these answers are right.
        """
        gaps = [*self._gaps(*_columns(*mine)), *self._gaps(*_columns(*theirs))]
        ece = self.bootstrap.of_sums(
            gaps,
            lambda sums: _ece(sums[:, : self.n_bins + 1]) - _ece(sums[:, self.n_bins + 1 :]),
            metric=f"vqa.{group}.ece",
            policy=self.policy,
            split=self.split,
            baseline=baseline,
        )
        return self._told(ece)

    def _inside(self, sure: Floats) -> Floats:
        """[n, bins] 1 where an answer is in a bin; one without confidence is in none."""
        if ((sure < 0) | (sure > 1)).any():
            raise ValueError("calibration: a confidence lies between 0 and 1")
        places = np.clip(np.ceil(sure * self.n_bins) - 1, 0, self.n_bins - 1)  # NaN stays NaN
        return (places[:, None] == np.arange(self.n_bins)).astype(np.float64)

    def _gaps(self, sure: Floats, right: Floats) -> list[Floats]:
        """What ECE is a function of the sums of: by bin, whether right less confidence; and the number of answers."""
        gaps = right - sure
        return [*(self._inside(sure) * gaps[:, None]).T, np.where(np.isnan(gaps), np.nan, 1.0)]

    def _bin(self, group: str, i: int, own: Any, sure: Floats, right: Floats) -> Bin:
        confidence, accuracy = (
            self.bootstrap.mean(
                np.where(own, value, np.nan), metric=f"vqa.{group}.bin{i}.{name}", policy=self.policy, split=self.split
            )
            for name, value in (("confidence", sure), ("accuracy", right))
        )
        return Bin(i / self.n_bins, (i + 1) / self.n_bins, confidence, accuracy)

    def _told(self, ece: Estimate) -> Estimate:
        return replace(ece, method=f"{ece.method}; {self.n_bins} bins of equal width")


def _columns(confidences: Values, correct: Values) -> tuple[Floats, Floats]:
    return np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)


def _ece(sums: Floats) -> Floats:
    return divide(np.abs(sums[:, :-1]).sum(axis=1), sums[:, -1])
