"""All numbers of a run: of its reports, and of its answers where questions were asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chexalign.evaluate.answers import asked
from chexalign.evaluate.calibration import Calibration
from chexalign.evaluate.cross_judge import Disagreement, cross_judge, disagreements
from chexalign.evaluate.length import LengthGroup, win_rate_by_length
from chexalign.evaluate.length_verdict import LengthVerdict, length_numbers, reference_verbosity
from chexalign.evaluate.question_types import Typed, measure_types
from chexalign.evaluate.reports import PolicyResults, Truth, compare, estimate
from chexalign.evaluate.tasks import Asked, TaxVerdict, compare_tasks, measure_tasks, task_estimates, tax_verdicts
from chexalign.evaluate.type_numbers import TypeNumbers
from chexalign.ids import keyed_seed
from chexalign.judges.normalize import count_words
from chexalign.run_folder import SFT, RunFolder
from chexalign.stats import Bootstrap, PairedTests
from chexalign.types import Comparison, Estimate


@dataclass(slots=True)
class Numbers:
    """What estimates.json holds beside its fingerprint."""

    estimates: list[Estimate] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)
    length: list[LengthVerdict] = field(default_factory=list)
    tax: list[TaxVerdict] = field(default_factory=list)
    length_groups: list[LengthGroup] = field(default_factory=list)
    calibration: list[Calibration] = field(default_factory=list)

    def plain(self) -> dict[str, list[dict[str, Any]]]:
        """As JSON has it; what is empty is left out, but for the estimates."""
        found = {f.name: [dataclasses.asdict(row) for row in getattr(self, f.name)] for f in dataclasses.fields(self)}
        return {name: rows for name, rows in found.items() if rows or name == "estimates"}

    @staticmethod
    def of(content: Mapping[str, Any]) -> Numbers:
        """From JSON; what an older file does not have is empty."""
        kinds = {"comparisons": Comparison, "disagreements": Disagreement, "length": LengthVerdict, "tax": TaxVerdict}
        more: dict[str, Any] = {name: [kind(**row) for row in content.get(name, [])] for name, kind in kinds.items()}
        more["length_groups"] = [
            LengthGroup(**{**row, "win_rate": Estimate(**row["win_rate"])}) for row in content.get("length_groups", [])
        ]
        more["calibration"] = [Calibration.of(row) for row in content.get("calibration", [])]
        return Numbers([Estimate(**row) for row in content["estimates"]], **more)


def add_reports(
    numbers: Numbers,
    truth: Truth,
    results: Sequence[PolicyResults],
    *,
    spec: Any,
    judges: Sequence[str],
    learned_from: Mapping[str, str],
    seed: int,
) -> None:
    """The numbers of the reports; `spec` is the EvaluateSpec, `learned_from` the judge of each policy with one."""
    patients, split = [s.patient_id for s in truth.studies], spec.split
    bootstrap = _bootstrap(patients, spec, keyed_seed(seed, "bootstrap"))
    numbers.estimates += estimate(truth, results, bootstrap, split=split, baseline=SFT)
    numbers.estimates += reference_verbosity(
        results, [count_words(s.reference) for s in truth.studies], bootstrap, split=split
    )
    base = next(result for result in results if result.name == SFT)
    for result in results:
        if (own := learned_from.get(result.name)) is None:
            continue
        numbers.estimates += cross_judge(result, base, bootstrap, own=own, judges=judges, split=split)
        numbers.disagreements += disagreements(result, base, [s.id for s in truth.studies], judges=judges)
        estimates, verdict = length_numbers(result, base, bootstrap, own=own, split=split)
        numbers.estimates += estimates
        if verdict is None:
            continue
        numbers.length.append(verdict)
        scores, words = ([r.values[name] for r in (result, base)] for name in (own, "words"))
        numbers.length_groups += win_rate_by_length(
            bootstrap, *scores, *words, metric=own, policy=result.name, baseline=base.name, split=split
        )
    tests = PairedTests(patients, seed=keyed_seed(seed, "randomization"))
    numbers.comparisons += compare(truth, results, tests, judges=judges, baseline=SFT)


def add_answers(
    numbers: Numbers,
    run: RunFolder,
    questions: Any,
    *,
    spec: Any,
    policies: Sequence[str],
    seed: int,
    baselines: Sequence[str] = (SFT,),
) -> None:
    """The numbers of the answers; `questions` is the QuestionsSpec, and all its answers are there.

    What is told by task is compared with SFT, what is told by type of question with every one of `baselines`.
    """
    collections = [collection for collection in questions.collections if collection.evaluate]
    found = [q for c in collections for q in asked(run, c.source, questions.split, c.limit)]
    if not found:
        return
    everything, results, by_type = Asked(found), [], []
    typed, how = Typed(everything), questions.confidence
    for policy in policies:
        answers = [answer for c in collections for answer in run.answers(c.source, policy).iter_rows()]
        results.append(measure_tasks(policy, everything, answers))
        sure = {"aggregate": how.aggregate, "span": how.span} if how else {}
        by_type.append(measure_types(typed, results[-1], answers, **sure))
    patients, split = everything.patients, questions.split
    bootstrap = _bootstrap(patients, spec, keyed_seed(seed, "bootstrap", "tasks"))
    estimates = task_estimates(everything, results, bootstrap, split=split, baseline=SFT)
    numbers.estimates += estimates
    numbers.tax += tax_verdicts(estimates, bound=questions.tax_bound)
    tests = PairedTests(patients, seed=keyed_seed(seed, "randomization", "tasks"))
    numbers.comparisons += compare_tasks(everything, results, tests, baseline=SFT)
    types = TypeNumbers(typed, by_type, baselines, bootstrap, split)
    calibrations = types.calibrations()
    numbers.calibration += calibrations
    numbers.estimates += types.estimates() + [calibration.ece for calibration in calibrations]
    numbers.comparisons += types.comparisons(tests)


def _bootstrap(patients: Sequence[str], spec: Any, seed: int) -> Bootstrap:
    """The resamples that an EvaluateSpec asks for."""
    return Bootstrap(patients, seed=seed, resamples=spec.bootstrap, level=spec.level, interval=spec.interval)
