"""Simulated test sets whose true values are known: scores and labels of two systems, with and without patients.

Chosen once, before any coverage was looked at. Scores are shaped like those of a judge that counts errors: a third of
the reports get 0, some 1, the others lie between. Labels are 14, most of them rare. Everything of one study is
correlated, everything of one patient too, and so are the two systems.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, ndtr, ndtri

N = 300
PATIENTS = 120  # among whom 300 studies are spread at random: 2.5 each on average
PREVALENCE = np.geomspace(0.01, 0.25, 14)
SENSITIVITY = {"policy": 0.6, "baseline": 0.5}
FALSE_ALARM = 0.4 * PREVALENCE


@dataclass(frozen=True)
class Scores:
    """A distribution on [0, 1] with an atom at either end and a beta distribution between them."""

    zero: float
    one: float
    a: float
    b: float

    def mean(self) -> float:
        return self.one + (1 - self.zero - self.one) * self.a / (self.a + self.b)

    def at(self, share: np.ndarray) -> np.ndarray:
        """The quantile function."""
        between = np.clip((share - self.zero) / (1 - self.zero - self.one), 0, 1)
        inside = betaincinv(self.a, self.b, between)
        return np.where(share < self.zero, 0.0, np.where(share > 1 - self.one, 1.0, inside))


SCORES = {"policy": Scores(0.30, 0.06, 1.7, 3.0), "baseline": Scores(0.35, 0.05, 1.5, 3.0)}


@dataclass(frozen=True)
class Sample:
    """One simulated test set: `clusters` [N], scores [N] and calls [N, 14] of each system, true labels [N, 14]."""

    clusters: list[str]
    scores: dict[str, np.ndarray]
    true: np.ndarray
    calls: dict[str, np.ndarray]


def truths() -> dict[str, float]:
    """What the statistics of endlessly many studies would be."""
    f1 = {}
    for system, sensitivity in SENSITIVITY.items():
        hits = PREVALENCE * sensitivity
        both = PREVALENCE + hits + (1 - PREVALENCE) * FALSE_ALARM
        f1[system] = 2 * hits.sum() / both.sum(), (2 * hits / both).mean()
    means = {system: scores.mean() for system, scores in SCORES.items()}
    return {
        "mean": means["policy"],
        "mean_difference": means["policy"] - means["baseline"],
        "micro_f1": f1["policy"][0],
        "micro_f1_difference": f1["policy"][0] - f1["baseline"][0],
        "macro_f1": f1["policy"][1],
        "macro_f1_difference": f1["policy"][1] - f1["baseline"][1],
    }


def draw(rng: np.random.Generator, *, by_patient: bool) -> Sample:
    """One test set; without patients each study stands alone."""
    index = rng.integers(0, PATIENTS, N) if by_patient else np.arange(N)
    clusters = [f"p{i:03d}" for i in index]
    common = normal(rng, index, 1)
    scores = {
        system: of.at(ndtr(np.sqrt(0.5) * common + np.sqrt(0.5) * normal(rng, index, 1))[:, 0])
        for system, of in SCORES.items()
    }
    true = normal(rng, index, 14) < ndtri(PREVALENCE)
    luck, calls = normal(rng, index, 14), {}
    for system, sensitivity in SENSITIVITY.items():
        share = ndtr(np.sqrt(0.5) * luck + np.sqrt(0.5) * normal(rng, index, 14))
        calls[system] = share < np.where(true, sensitivity, FALSE_ALARM)
    return Sample(clusters, scores, true, calls)


def normal(rng: np.random.Generator, index: np.ndarray, columns: int) -> np.ndarray:
    """Standard normal numbers [N, columns], correlated within a study and within a patient.

    Variance: 0.3 of the patient in that column, 0.1 of the patient, 0.2 of the study, 0.4 of nothing else.
    """
    patients = int(index.max()) + 1
    return (
        np.sqrt(0.3) * rng.normal(size=(patients, columns))[index]
        + np.sqrt(0.1) * rng.normal(size=(patients, 1))[index]
        + np.sqrt(0.2) * rng.normal(size=(N, 1))
        + np.sqrt(0.4) * rng.normal(size=(N, columns))
    )
