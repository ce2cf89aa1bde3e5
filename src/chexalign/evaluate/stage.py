"""The stage that writes estimates.json: every metric of every policy, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chexalign import atomic
from chexalign.errors import UserError
from chexalign.evaluate.labels import label_table
from chexalign.evaluate.numbers import Numbers, add_answers, add_reports
from chexalign.evaluate.reports import PolicyResults, Truth, measure
from chexalign.run_folder import SFT, SHUFFLED, RunFolder
from chexalign.stage import StageKey
from chexalign.types import Estimate


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
    questions: Any = None,
    baselines: Sequence[str] = (SFT,),
) -> list[Estimate]:
    """The estimates of a run, computed unless estimates.json holds those of this key.

    `spec` is the EvaluateSpec and `questions` the QuestionsSpec of the recipe, if it has one; `learned_from` has the
    judge of each policy that learned from one, and answers are compared with those of `baselines` by type of question.
    """
    if run.estimates.is_file() and atomic.read_json(run.estimates)["fingerprint"] == key.fingerprint:
        return read_estimates(run)
    numbers, truth = Numbers(), truth_of(run, spec.split)
    results = evaluated(run, spec.split, policies, judges)
    add_reports(numbers, truth, results, spec=spec, judges=judges, learned_from=learned_from, seed=key.seed)
    if questions is not None:
        asked = [name for name in policies if name != SHUFFLED]  # the control is asked nothing
        add_answers(numbers, run, questions, spec=spec, policies=asked, seed=key.seed, baselines=baselines)
    about = {"fingerprint": key.fingerprint, "references": run.normalizer}
    atomic.write_json(run.estimates, about | numbers.plain())
    return numbers.estimates


def read_numbers(run: RunFolder) -> Numbers:
    """All numbers of a finished run; what one that was evaluated by an older version has not is empty.

    Raises: UserError when there are none yet.
    """
    if not run.estimates.is_file():
        raise UserError(
            f"The run {run.root} has no estimates yet.",
            "estimates.json is written by the stage `evaluate`.",
            "Run `chexalign evaluate` with the same recipe.",
        )
    return Numbers.of(atomic.read_json(run.estimates))


def read_estimates(run: RunFolder) -> list[Estimate]:
    """The estimates of a finished run.

    Raises: UserError when there are none yet.
    """
    return read_numbers(run).estimates
