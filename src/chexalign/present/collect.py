"""From a finished run folder to the data of its report."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from chexalign import __version__
from chexalign.evaluate.stage import evaluated, read_numbers
from chexalign.present.claims import ArmOutline, claims
from chexalign.present.collect_cases import collect_cases
from chexalign.present.collect_mining import collect_mining, not_evaluated
from chexalign.present.collect_run import pair_set, stage_rows, training_curves, training_notes
from chexalign.present.data import CONTROL, ReportData
from chexalign.present.mining_page import mining_claims
from chexalign.recipe import Recipe, folder_name
from chexalign.recipe.judges import JudgeSpec
from chexalign.run_folder import RunFolder

_PACKAGES = ("torch", "transformers", "numpy", "pyarrow")

TITLE = "Chest X-ray reports before and after preference training"
MINING_TITLE = "Hard questions about chest X-rays, before and after learning from them"
SYNTHETIC_NOTE = (
    "Every image here is synthetic: a phantom drawn from the MeSH codes that people gave the study after reading its "
    "report. The images therefore show what the reports say, so this run shows the method and its wiring, not "
    "clinical skill."
)
WEAK_NOTE = (
    "How well the policy is trained before alignment decides how much alignment can add; here it is small and was "
    "given minutes, so it misses much."
)


def collect(run: RunFolder, recipe: Recipe, policies: Sequence[str]) -> ReportData:
    """The data of the report of a finished run, with every study of the evaluated split as a case.

    Policies of mined sets that are not evaluated yet are named in the notes and left out.
    Raises: UserError when the run has no estimates yet.
    """
    numbers, mining, waiting = read_numbers(run), collect_mining(run, recipe), not_evaluated(run, recipe)
    policies = [policy for policy in policies if policy not in waiting]
    arms = recipe.resolved_arms()
    outlines = [ArmOutline(name, folder_name(arm.judge), arm.pairs.rule) for name, arm in arms.items()]
    judges = [folder_name(judge) for judge in recipe.measured()]
    results = evaluated(run, recipe.evaluate.split, policies, judges)
    studies = [s for s in run.studies.iter_rows() if s.split == recipe.evaluate.split]
    synthetic = any(image.synthetic for s in studies for image in s.images)
    synthetic = synthetic or any(image.synthetic for image in (mining.images if mining else ()))
    shown = [r for r in results if r.name != CONTROL]
    cases, gone = collect_cases(run, studies, shown, judges, threads=recipe.workers)
    return ReportData(
        title=TITLE if arms else MINING_TITLE,
        run_name=recipe.run,
        recipe_yaml=recipe.to_yaml(),
        notes=[
            *([SYNTHETIC_NOTE, WEAK_NOTE] if synthetic else []),
            *([f"Not evaluated yet, and not shown: {', '.join(waiting)}."] if waiting else []),
            *([f"{gone:,} images could not be read again and are not shown."] if gone else []),
        ],
        synthetic=synthetic,
        stages=stage_rows(run),
        estimates=numbers.estimates,
        policies=[p for p in policies if p != CONTROL],
        headline=claims(numbers.estimates, outlines) + (mining_claims(numbers.estimates, mining) if mining else []),
        curves=training_curves(run),
        pair_sets=[pair_set(run, name, arm) for name, arm in arms.items()],
        cases=cases,
        versions={
            "chexalign": __version__,
            "python": sys.version.split()[0],
            **{p: importlib.metadata.version(p) for p in _PACKAGES},
        },
        config_digest=recipe.digest(),
        generated=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seeds={"run": recipe.seed},
        references=recipe.data.normalizer,
        more=numbers,
        judges={outline.name: outline.judge for outline in outlines},
        warnings=training_notes(run, list(recipe.learners())),
        labelers=labelers(recipe.measured()),
        mining=mining,
    )


def labelers(judges: Iterable[JudgeSpec]) -> dict[str, str]:
    """What each measured CheXbert counts as positive, and how it takes texts, in words."""
    found = {}
    for judge in judges:
        if judge.name == "chexbert":
            uncertain = judge.options.get("uncertain", "positive")
            texts = "cleaned" if judge.options.get("texts", "clean") == "clean" else "taken as they are"
            found[folder_name(judge)] = f"an uncertain label counts as {uncertain}; texts are {texts} before labeling"
    return found
