"""The stage that writes estimates.json: every metric of every policy, with its interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from chexalign import atomic
from chexalign.errors import UserError
from chexalign.evaluate.cross_judge import Disagreement, cross_judge, disagreements
from chexalign.evaluate.labels import label_table
from chexalign.evaluate.reports import PolicyResults, Truth, compare, estimate, measure
from chexalign.ids import keyed_seed
from chexalign.run_folder import SFT, RunFolder
from chexalign.stage import StageKey
from chexalign.stats import Bootstrap, PairedTests
from chexalign.types import Comparison, Estimate


def evaluated(run: RunFolder, split: str, policies: Sequence[str], judges: Sequence[str]) -> list[PolicyResults]:
    """The per-study values of each policy, studies in the order of their table.

    Raises: UserError when predictions and studies do not match.
    """
    truth = truth_of(run, split)
    order = {s.id: i for i, s in enumerate(truth.studies)}
    results = []
    for policy in policies:
        predictions = sorted(run.predictions(policy).iter_rows(), key=lambda p: order.get(p.study_id, -1))
        if [p.study_id for p in predictions] != list(order):
            raise UserError(
                f"The predictions of {policy} are not those of the split {split}.",
                "Every study of the split needs exactly one prediction.",
                f"Delete {run.predictions(policy).folder} and run again.",
            )
        scores = {}
        for judge in judges:
            of_study = {s.candidate_id: s for s in run.metric(judge, policy).iter_rows()}
            scores[judge] = [of_study[i] for i in order]
        values = {judge: [score.value for score in found] for judge, found in scores.items()}
        tables = {judge: table for judge, found in scores.items() if (table := label_table(found)) is not None}
        results.append(measure(policy, truth, predictions, values, tables))
    return results


def truth_of(run: RunFolder, split: str) -> Truth:
    """What the studies of a split are compared with."""
    return Truth.of([s for s in run.studies.iter_rows() if s.split == split])


def write_estimates(
    run: RunFolder,
    key: StageKey,
    *,
    spec: Any,
    policies: Sequence[str],
    judges: Sequence[str],
    learned_from: Mapping[str, str],
) -> list[Estimate]:
    """The estimates of a run, computed unless estimates.json holds those of this key; `spec` is the EvaluateSpec.

    `learned_from` has the judge of each policy that learned from one.
    """
    if run.estimates.is_file():
        there = atomic.read_json(run.estimates)
        if there["fingerprint"] == key.fingerprint:
            return [Estimate(**row) for row in there["estimates"]]
    truth = truth_of(run, spec.split)
    results = evaluated(run, spec.split, policies, judges)
    patients = [s.patient_id for s in truth.studies]
    bootstrap = Bootstrap(patients, seed=keyed_seed(key.seed, "bootstrap"), resamples=spec.bootstrap, level=spec.level)
    estimates = estimate(truth, results, bootstrap, split=spec.split, baseline=SFT)
    study_ids, (base,) = [s.id for s in truth.studies], [r for r in results if r.name == SFT]
    apart: list[Disagreement] = []
    for result in results:
        if (own := learned_from.get(result.name)) is not None:
            estimates += cross_judge(result, base, bootstrap, own=own, judges=judges, split=spec.split)
            apart += disagreements(result, base, study_ids, judges=judges)
    tests = PairedTests(patients, seed=keyed_seed(key.seed, "randomization"))
    comparisons = compare(truth, results, tests, judges=judges, baseline=SFT)
    content = {
        "fingerprint": key.fingerprint,
        "estimates": [dataclasses.asdict(e) for e in estimates],
        "comparisons": [dataclasses.asdict(c) for c in comparisons],
        "disagreements": [dataclasses.asdict(d) for d in apart],
    }
    atomic.write_json(run.estimates, content)
    return estimates


def read_estimates(run: RunFolder) -> list[Estimate]:
    """The estimates of a finished run.

    Raises: UserError when there are none yet.
    """
    return [Estimate(**row) for row in _content(run)["estimates"]]


def read_comparisons(run: RunFolder) -> list[Comparison]:
    """The paired tests of a finished run; none of one that was evaluated before they were kept.

    Raises: UserError when there are no estimates yet.
    """
    return [Comparison(**row) for row in _content(run).get("comparisons", [])]


def read_disagreements(run: RunFolder) -> list[Disagreement]:
    """The studies of a finished run that judges see most differently, of each policy that learned from one.

    Raises: UserError when there are no estimates yet.
    """
    return [Disagreement(**row) for row in _content(run).get("disagreements", [])]


def _content(run: RunFolder) -> dict[str, Any]:
    if not run.estimates.is_file():
        raise UserError(
            f"The run {run.root} has no estimates yet.",
            "estimates.json is written by the stage `evaluate`.",
            "Run `chexalign evaluate` with the same recipe.",
        )
    content: dict[str, Any] = atomic.read_json(run.estimates)
    return content
