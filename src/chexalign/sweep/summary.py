"""What a sweep found: every trial with intervals, which one is picked, and what picking by the raw score would cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chexalign.evaluate.length import relative_verbosity
from chexalign.judges.normalize import count_words
from chexalign.recipe import EvaluateSpec
from chexalign.run_folder import SFT
from chexalign.stats import Bootstrap
from chexalign.sweep.trials import SPLIT, TrialFolder
from chexalign.types import Estimate, Study

_REFERENCE = "reference"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """Values of a policy per study of the validation split; NaN where the judge gave no score."""

    name: str
    lc: Floats
    raw: Floats
    words: Floats


@dataclass(frozen=True, slots=True)
class Ruler:
    """The studies that all trials are measured on, and the judge's names with length control and without."""

    run: TrialFolder
    studies: Sequence[Study]
    bootstrap: Bootstrap
    lc: str
    raw: str

    @classmethod
    def of(cls, run: TrialFolder, spec: EvaluateSpec, *, seed: int, lc: str, raw: str) -> Ruler:
        """Reads the studies."""
        studies = [s for s in run.studies.iter_rows() if s.split == SPLIT]
        clusters = [s.patient_id for s in studies]
        return cls(
            run, studies, Bootstrap(clusters, seed=seed, resamples=spec.bootstrap, level=spec.level), lc=lc, raw=raw
        )

    def measure(self, name: str) -> Measured:
        """The values of a policy whose predictions are scored; the raw score is a part of the length-controlled one."""
        texts = {p.study_id: p.text for p in self.run.predictions(name).iter_rows()}
        scores = {s.candidate_id: s for s in self.run.metric(self.lc, name).iter_rows()}
        found = [scores[s.id] for s in self.studies]
        return Measured(
            name,
            np.array([np.nan if s.value is None else s.value for s in found], dtype=np.float64),
            np.array([np.nan if s.value is None else dict(s.parts)["raw"] for s in found], dtype=np.float64),
            np.array([count_words(texts[s.id]) for s in self.studies], dtype=np.float64),
        )

    def score(self, of: Measured) -> float | None:
        """What trials are ordered by: the mean of the length-controlled score."""
        return self.bootstrap.mean(of.lc, metric=self.lc, policy=of.name, split=SPLIT).value

    def estimates(self, of: Measured, sft: Measured) -> list[Estimate]:
        """Both scores and the words of a policy, its length against the reference's, and all but that against SFT."""
        reference = [count_words(s.reference) for s in self.studies]
        name = {"policy": of.name, "split": SPLIT}
        columns = ((self.lc, of.lc), (self.raw, of.raw), ("words", of.words))
        out = [self.bootstrap.mean(values, metric=metric, **name) for metric, values in columns]
        out.append(relative_verbosity(self.bootstrap, of.words, reference, baseline=_REFERENCE, **name))
        return out if of is sft else out + self.differences(of, sft)

    def differences(self, of: Measured, base: Measured) -> list[Estimate]:
        """Paired differences of both scores and the words against another policy's, and the length as a multiple."""
        name = {"policy": of.name, "baseline": base.name, "split": SPLIT}
        columns = ((self.lc, of.lc, base.lc), (self.raw, of.raw, base.raw), ("words", of.words, base.words))
        out = [self.bootstrap.difference(mine, theirs, metric=metric, **name) for metric, mine, theirs in columns]
        return [*out, relative_verbosity(self.bootstrap, of.words, base.words, **name)]


@dataclass(frozen=True, slots=True)
class Row:
    """A trial that has ended; `measured` is None where it failed, for the reason that is given."""

    number: int
    name: str
    parameters: dict[str, Any]
    measured: Measured | None
    reason: str | None
    seconds: float


def summarize(ruler: Ruler, sft: Measured, rows: Sequence[Row], about: dict[str, Any]) -> dict[str, Any]:
    """All of sweep.json, as plain values.

    The picked trial has the highest mean of the length-controlled score; of equal ones the first.
    """
    done = [row for row in rows if row.measured is not None]
    picked, raw = _best(ruler, done, "lc"), _best(ruler, done, "raw")
    return {
        **about,
        "trials": [_plain(ruler, sft, row) for row in rows],
        SFT: [dataclasses.asdict(e) for e in ruler.estimates(sft, sft)],
        "picked": _short(picked),
        "raw_winner": _short(raw),
        "cost_of_raw": _cost(ruler, picked, raw),
    }


def _best(ruler: Ruler, rows: Sequence[Row], which: str) -> Row | None:
    best, highest = None, -np.inf
    for row in rows:
        values = getattr(row.measured, which)
        value = ruler.bootstrap.mean(values, metric=which, policy=row.name, split=SPLIT).value
        if value is not None and value > highest:
            best, highest = row, value
    return best


def _plain(ruler: Ruler, sft: Measured, row: Row) -> dict[str, Any]:
    found = ruler.estimates(row.measured, sft) if row.measured else []
    return {
        "trial": row.number,
        "name": row.name,
        "parameters": row.parameters,
        "state": "done" if row.measured else "failed",
        "reason": row.reason,
        "estimates": [dataclasses.asdict(estimate) for estimate in found],
        "seconds": row.seconds,
    }


def _short(row: Row | None) -> dict[str, Any] | None:
    return {"trial": row.number, "name": row.name, "parameters": row.parameters} if row else None


def _cost(ruler: Ruler, picked: Row | None, raw: Row | None) -> list[dict[str, Any]]:
    """The raw score's winner minus the picked trial, study by study; nothing where they are one."""
    if picked is None or raw is None or raw is picked or raw.measured is None or picked.measured is None:
        return []
    return [dataclasses.asdict(estimate) for estimate in ruler.differences(raw.measured, picked.measured)]
