"""Per-study values of all runs over the studies that they share, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from chexalign.compare.side import Side
from chexalign.errors import UserError
from chexalign.evaluate.labels import LabelTable
from chexalign.evaluate.reports import PolicyResults, Truth, estimate
from chexalign.evaluate.stage import evaluated, truth_of
from chexalign.evaluate.tasks import BY_ANSWERS
from chexalign.ids import keyed_seed
from chexalign.judges.chexpert import FINDINGS, LABELS
from chexalign.run_folder import SFT
from chexalign.stats import Bootstrap
from chexalign.types import Estimate, Study

OVERLAP = ("bleu_4", "rouge_l")  # of no length-controlled form in the paper
PAIR_LEVEL = 0.95  # of the interval that must exclude 0 for the best to be bold
_FINDINGS = [LABELS.index(finding) for finding in FINDINGS]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class System:
    """A policy of a run."""

    side: Side
    policy: str

    @property
    def name(self) -> str:
        """RUN/POLICY, unlike that of any other system."""
        return f"{self.side.label}/{self.policy}"


@dataclass(frozen=True, slots=True)
class Found:
    """An estimate, and where it is from."""

    estimate: Estimate
    source: str


class Studies:
    """The studies that all runs were evaluated on, and every policy's values on them.

    Where all runs have the same studies, estimates are those of their estimates.json. Where they do not, all numbers
    are computed again on the studies that are shared. Cost: labels are read in all reports once more.

    Raises: UserError when a run has a study twice, when references of one study differ, when nothing is shared, and,
    with `same`, when any study is not.
    """

    def __init__(self, sides: Sequence[Side], *, same: bool = False) -> None:
        self.sides = sides
        truths = {side.label: truth_of(side.run, side.split) for side in sides}
        of_side = {side.label: _by_id(side, truths[side.label].studies) for side in sides}
        first = of_side[sides[0].label]
        shared = sorted(set(first).intersection(*(set(ids) for ids in of_side.values())))
        self.sizes = {label: len(ids) for label, ids in of_side.items()}
        self.same = all(size == len(shared) for size in self.sizes.values())
        _check_shared(sides, self.sizes, len(shared), same=same and not self.same)
        self.truth = _only_truth(truths[sides[0].label], [first[i] for i in shared])
        self._results: dict[str, PolicyResults] = {}
        self._found: dict[str, dict[tuple[str, str], Found]] = {}
        self._differences: dict[tuple[str, str], dict[str, Estimate]] = {}
        for side in sides:
            at = np.array([of_side[side.label][i] for i in shared], dtype=np.intp)
            _check_references(sides[0], side, self.truth.studies, [truths[side.label].studies[i] for i in at])
            for result in evaluated(side.run, side.split, side.policies, list(side.judges)):
                name = f"{side.label}/{result.name}"  # by which two runs' policies of one name are told apart
                self._results[name] = with_length_control(_only(replace(result, name=name), at), side.judges)

    @property
    def patients(self) -> list[str]:
        """What is resampled."""
        return [study.patient_id for study in self.truth.studies]

    def find(self, system: System, metric: str) -> Found | None:
        """The estimate of a metric, or None where the run has none."""
        return self._of_side(system.side).get((metric, system.policy))

    def metrics(self) -> list[str]:
        """The metrics that any run has, in the order they come."""
        return list(dict.fromkeys(metric for side in self.sides for metric, _ in self._of_side(side)))

    def difference(self, one: System, other: System, metric: str) -> Estimate | None:
        """The paired difference in a metric on the shared studies, with a 95% interval; None where it has none."""
        pair = (one.name, other.name)
        if pair not in self._differences:
            self._differences[pair] = self._compare(*(self._results[name] for name in pair))
        return self._differences[pair].get(metric)

    def _of_side(self, side: Side) -> dict[tuple[str, str], Found]:
        if side.label not in self._found:
            self._found[side.label] = self._estimates(side)
        return self._found[side.label]

    def _estimates(self, side: Side) -> dict[tuple[str, str], Found]:
        results = [replace(self._results[f"{side.label}/{policy}"], name=policy) for policy in side.policies]
        spec = side.recipe.evaluate
        seed = keyed_seed(side.recipe.seed, "bootstrap")
        bootstrap = Bootstrap(self.patients, seed=seed, resamples=spec.bootstrap, level=spec.level)
        if self.same:
            rows: Iterable[Estimate] = side.numbers.estimates
            about = f"{side.label}/estimates.json: "
        else:
            rows = estimate(self.truth, results, bootstrap, split=side.split, baseline=SFT)
            about = f"{side.label}/metrics, {side.label}/predictions: "
        out = {
            (e.metric, e.policy): Found(e, f"{about}{e.metric} of {e.policy}")
            for e in rows
            if e.baseline is None and e.split == side.split and not e.metric.startswith(BY_ANSWERS)
        }
        for result in results:
            for metric in [name for name in result.values if (name, result.name) not in out]:
                made = bootstrap.mean(result.values[metric], metric=metric, policy=result.name, split=side.split)
                source = f"{side.label}/metrics/{metric.removeprefix('lc-')}/{result.name}, divided by length"
                out[metric, result.name] = Found(made, source)
        return out

    def _compare(self, one: PolicyResults, other: PolicyResults) -> dict[str, Estimate]:
        values, tables = one.values.keys() & other.values.keys(), one.tables.keys() & other.tables.keys()
        mine, theirs = (
            replace(r, values={m: r.values[m] for m in values}, tables={j: r.tables[j] for j in tables})
            for r in (one, other)
        )
        spec = self.sides[0].recipe
        seed = keyed_seed(spec.seed, "compare")
        bootstrap = Bootstrap(self.patients, seed=seed, resamples=spec.evaluate.bootstrap, level=PAIR_LEVEL)
        about = {"split": spec.evaluate.split, "baseline": other.name}
        rows = estimate(self.truth, [mine, theirs], bootstrap, **about)
        per_label = bootstrap.f1_report_difference(
            self.truth.codes,
            mine.labels[:, _FINDINGS],
            theirs.labels[:, _FINDINGS],
            labels=FINDINGS,
            metric="mesh",
            policy=one.name,
            **about,
        )
        return {e.metric: e for e in (*per_label, *rows) if e.baseline is not None}


def with_length_control(result: PolicyResults, judges: Iterable[str]) -> PolicyResults:
    """The values with the length-controlled form of every judge that has none and whose scores are not negative.

    Each score is divided by max(words / words of the reference, 1), as the judge `lc` does.
    """
    ratio = np.maximum(result.values["words_vs_reference"], 1.0)
    more = {}
    for judge in judges:
        if judge in OVERLAP or judge.startswith("lc-") or f"lc-{judge}" in result.values:
            continue
        scores = result.values[judge]
        if not (scores < 0).any():
            more[f"lc-{judge}"] = scores / ratio
    return replace(result, values={**result.values, **more})


def _by_id(side: Side, studies: Sequence[Study]) -> Mapping[str, int]:
    ids = {study.id: i for i, study in enumerate(studies)}
    if len(ids) < len(studies):
        twice = next(study.id for i, study in enumerate(studies) if ids[study.id] != i)
        raise UserError(
            f"The run {side.label} has the study {twice} twice in the split {side.split}.",
            "It would count twice, and every interval would be too narrow.",
            f"Delete {side.run.studies.folder} and run again; if that does not help, the collection is at fault.",
        )
    return ids


def _check_shared(sides: Sequence[Side], sizes: Mapping[str, int], n_shared: int, *, same: bool) -> None:
    told = ", ".join(f"{label} {size:,}" for label, size in sizes.items())
    if not n_shared:
        raise UserError(
            f"The runs share no study of the split {sides[0].split} ({told}).",
            "Policies are compared on the same studies.",
            "Compare runs whose recipes have the same data block.",
        )
    if same:
        raise UserError(
            f"The runs were evaluated on different studies ({told}; all have {n_shared:,} of them).",
            "--same-studies asks for runs with the same ones.",
            "Leave --same-studies out to compare on the studies that all have.",
        )


def _check_references(first: Side, side: Side, studies: Sequence[Study], theirs: Sequence[Study]) -> None:
    for mine, other in zip(studies, theirs, strict=True):
        if mine.reference != other.reference:
            raise UserError(
                f"The study {mine.id} has one reference in {first.label} and another one in {side.label}.",
                "Every score compares with the reference, so it would mean another thing in each run.",
                "Make the studies of both runs from the same collection with the same options.",
            )


def _only_truth(truth: Truth, rows: Sequence[int]) -> Truth:
    return Truth([truth.studies[i] for i in rows], truth.reference[rows], truth.codes[rows])


def _only(result: PolicyResults, rows: Rows) -> PolicyResults:
    tables = {
        judge: LabelTable(table.labels, table.true[rows], table.called[rows]) for judge, table in result.tables.items()
    }
    return PolicyResults(result.name, result.labels[rows], {m: v[rows] for m, v in result.values.items()}, tables)
