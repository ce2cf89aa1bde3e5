"""Probes of a judge: does it put a report above one that is worse in a known way?

A copy of the reference gets the best score from any judge, so a judge is not asked whether an edit loses against the
copy. It is asked whether a harmful edit of few words loses against a harmless one of more: the same findings in other
words. A judge that measures wording gets this wrong, however fine its numbers look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from chexalign.errors import UserError
from chexalign.judges import probe_edits as edits
from chexalign.judges.base import Judge, TextPair
from chexalign.run_folder import RunFolder
from chexalign.stats import Bootstrap
from chexalign.types import Estimate

Verdict = Literal["pass", "fail", "open"]
_KEPT = 0.95  # of the copy's score: what a paraphrase must keep
_EQUAL = 1e-9
_PATIENTS = 300


@dataclass(frozen=True, slots=True)
class Case:
    """A reference and two candidates, of which `better` is to have the higher score."""

    reference: str
    better: str
    worse: str


@dataclass(frozen=True, slots=True)
class Probe:
    """One way in which a report can get worse.

    `make` gives a report's case, or None where it has none; `hit` says of the scores of better and worse whether the
    judge is right.
    """

    name: str
    question: str
    make: Callable[[str], Case | None]
    hit: Callable[[float, float], bool]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How often a judge was right; `verdict` is open where the interval holds the mark."""

    probe: str
    question: str
    rate: Estimate
    n: int
    unscored: int
    verdict: Verdict


def _below(better: float, worse: float) -> bool:
    return worse < better - _EQUAL


def _not_above(better: float, worse: float) -> bool:
    return worse <= better + _EQUAL


def _keeps(better: float, worse: float) -> bool:
    """Here `better` is the copy's score and `worse` the paraphrase's."""
    return worse >= better - (1 - _KEPT) * abs(better) - _EQUAL


def _against_paraphrase(edit: Callable[[str], str | None]) -> Callable[[str], Case | None]:
    def make(report: str) -> Case | None:
        better, worse = edits.paraphrase(report), edit(report)
        return Case(report, better, worse) if better is not None and worse is not None else None

    return make


def _paraphrased(report: str) -> Case | None:
    other = edits.paraphrase(report)
    return None if other is None else Case(report, report, other)


def _repeated(report: str) -> Case | None:
    """A report with one invented finding, and the same with what is right in it said twice."""
    flawed = edits.invent_finding(report)
    return None if flawed is None else Case(report, flawed, f"{flawed} {' '.join(edits.sentences_of(report))}")


PROBES: tuple[Probe, ...] = (
    Probe(
        "negation",
        "is stating what was denied worse than other words?",
        _against_paraphrase(edits.flip_negation),
        _below,
    ),
    Probe("side", "is the wrong side worse than other words?", _against_paraphrase(edits.swap_side), _below),
    Probe(
        "severity", "is the wrong degree worse than other words?", _against_paraphrase(edits.change_severity), _below
    ),
    Probe("omission", "is a missing finding worse than other words?", _against_paraphrase(edits.omit_finding), _below),
    Probe(
        "invention", "is an invented finding worse than other words?", _against_paraphrase(edits.invent_finding), _below
    ),
    Probe(
        "prior", "is an invented comparison worse than other words?", _against_paraphrase(edits.invent_prior), _below
    ),
    Probe("verbosity", "does saying twice what is right make up for nothing?", _repeated, _not_above),
    Probe("paraphrase", f"do other words keep {_KEPT:.0%} of the score?", _paraphrased, _keeps),
)


def run_probes(
    judge: Judge,
    reports: Mapping[str, str],
    *,
    pass_rate: float = 0.8,
    level: float = 0.90,
    resamples: int = 1_000,
    seed: int = 11,
    probes: Sequence[Probe] = PROBES,
) -> list[ProbeResult]:
    """How often the judge is right in each probe, over the reports (by the id of their patient or study).

    A case of which a side has no score is left out and counted. The verdict is pass where the whole interval lies at or
    above `pass_rate`, fail where it lies below, and open otherwise or where there are too few cases for an interval.
    Cost: two texts a case, each distinct one judged once.
    """
    cases = {p.name: [(name, case) for name, text in reports.items() if (case := p.make(text))] for p in probes}
    pairs = {pair for found in cases.values() for _, case in found for pair in _texts(case)}
    ordered = sorted(pairs, key=lambda pair: (pair.reference, pair.candidate))
    scores = dict(zip(ordered, (j.value for j in judge.score(ordered)), strict=True))
    results = []
    for probe in probes:
        hits, names = [], []
        for name, case in cases[probe.name]:
            better, worse = (scores[pair] for pair in _texts(case))
            hits.append(None if better is None or worse is None else float(probe.hit(better, worse)))
            names.append(name)
        boot = Bootstrap(names, seed=seed, resamples=resamples, level=level)
        rate = boot.mean(hits, metric=f"probe.{probe.name}", policy=f"{judge.name}@{judge.version}", split="probes")
        unscored = hits.count(None)
        results.append(
            ProbeResult(probe.name, probe.question, rate, len(hits) - unscored, unscored, _verdict(rate, pass_rate))
        )
    return results


def require_passed(judge: Judge, reports: Mapping[str, str], needed: Sequence[str]) -> list[ProbeResult]:
    """What the probes of these names found, all of them passed; see `run_probes`.

    Raises: UserError for a name that is no probe's, and when the judge passes one of them not at all or not surely.
    """
    known = {probe.name: probe for probe in PROBES}
    if strange := sorted(set(needed) - set(known)):
        raise UserError(
            f"there is no probe {strange[0]!r}", f"the probes are {', '.join(known)}", "name probes of these only"
        )
    results = run_probes(judge, reports, probes=[known[name] for name in needed])
    short = [r for r in results if r.verdict != "pass"]
    if short:
        raise UserError(
            f"The judge {judge.name} does not pass {', '.join(_told(r) for r in short)}.",
            "The recipe lets it order candidates only if it passes.",
            "Name another judge, or take the probe out of pairs.require_probes and say so where results are told.",
        )
    return results


def require_passed_on(run: RunFolder, judge: Judge, needed: Sequence[str], *, split: str) -> list[ProbeResult]:
    """`require_passed` on the references of a run's studies in that split, one of each patient, 300 at most."""
    reports: dict[str, str] = {}
    for study in run.studies.iter_rows():
        if study.split == split and len(reports) < _PATIENTS:
            reports[study.patient_id] = study.reference
    return require_passed(judge, reports, needed)


def _told(result: ProbeResult) -> str:
    rate = "no case" if result.rate.value is None else f"right in {result.rate.value:.0%} of {result.n} cases"
    return f"{result.probe} ({rate})"


def _texts(case: Case) -> tuple[TextPair, TextPair]:
    return TextPair(case.better, case.reference), TextPair(case.worse, case.reference)


def _verdict(rate: Estimate, pass_rate: float) -> Verdict:
    if rate.low is None or rate.high is None:
        return "open"
    return "pass" if rate.low >= pass_rate else "fail" if rate.high < pass_rate else "open"
