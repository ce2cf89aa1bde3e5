"""From a finished run folder to the data of its report."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from chexalign import __version__, artifact
from chexalign.evaluate.reports import PolicyResults
from chexalign.evaluate.stage import evaluated, read_estimates
from chexalign.ids import keyed_seed
from chexalign.judges.chexpert import positives
from chexalign.pairs.stage import table_of_arm
from chexalign.present.claims import ArmOutline, claims
from chexalign.present.data import BASELINE, CONTROL, Case, CaseImage, Curve, PairSet, ReportData, StageRow
from chexalign.recipe import Arm, Recipe, folder_name
from chexalign.run_folder import RunFolder
from chexalign.store import MANIFEST, Manifest, Table
from chexalign.types import ImageRef, Study, Verdict

_PACKAGES = ("torch", "transformers", "numpy", "pyarrow")
_CASE_SIDE_PX = 256
_BY_CHANGE, _BY_LOT = 3, 6  # cases: most improved, as many most worsened, and drawn by lot
_RANKED_BY = "chexpert"
_CURVES = ("loss", "reward_margin", "accuracy")

SYNTHETIC_NOTE = (
    "Every image here is synthetic: a phantom drawn from the MeSH codes that people gave the study after reading its "
    "report. The images therefore show what the reports say, so this run shows the method and its wiring, not "
    "clinical skill."
)
WEAK_NOTE = (
    "How well the policy is trained before alignment decides how much alignment can add; here it is small and was "
    "given minutes, so it misses much."
)
LOT_NOTE = "The cases shown were drawn by lot."
CASES_NOTE = (
    f"Of the cases shown, {_BY_CHANGE} gained most and {_BY_CHANGE} lost most in label agreement under the first arm; "
    f"the other {_BY_LOT} were drawn by lot."
)


def collect(run: RunFolder, recipe: Recipe, policies: Sequence[str]) -> ReportData:
    """The data of the report of a finished run.

    Raises: UserError when the run has no estimates yet.
    """
    estimates = read_estimates(run)
    arms = recipe.resolved_arms()
    outlines = [ArmOutline(name, folder_name(arm.judge), arm.pairs.rule) for name, arm in arms.items()]
    judges = [folder_name(judge) for judge in recipe.measured()]
    results = evaluated(run, recipe.evaluate.split, policies, judges)
    studies = {s.id: s for s in run.studies.iter_rows() if s.split == recipe.evaluate.split}
    synthetic = any(image.synthetic for s in studies.values() for image in s.images)
    notes = [SYNTHETIC_NOTE, WEAK_NOTE] if synthetic else []
    return ReportData(
        title="Chest X-ray reports before and after preference training",
        run_name=recipe.run,
        recipe_yaml=recipe.to_yaml(),
        notes=[*notes, CASES_NOTE if _ranked(results) else LOT_NOTE, *training_notes(run, list(arms))],
        synthetic=synthetic,
        stages=stage_rows(run),
        estimates=estimates,
        policies=[p for p in policies if p != CONTROL],
        headline=claims(estimates, outlines),
        curves=training_curves(run),
        pair_sets=[pair_set(run, name, arm) for name, arm in arms.items()],
        cases=_cases(run, list(studies.values()), results, judges, seed=recipe.seed),
        versions={
            "chexalign": __version__,
            "python": sys.version.split()[0],
            **{p: importlib.metadata.version(p) for p in _PACKAGES},
        },
        config_digest=recipe.digest(),
        generated=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seeds={"run": recipe.seed},
        references=recipe.data.normalizer,
    )


def stage_rows(run: RunFolder) -> list[StageRow]:
    """Every finished stage of the run, in the order in which they were finished."""
    found = sorted(run.root.rglob(MANIFEST), key=lambda p: (p.stat().st_mtime_ns, str(p)))
    rows = []
    for path in found:
        manifest = Manifest.load(path.parent)
        assert manifest is not None
        name = str(path.parent.relative_to(run.root))
        workers = manifest.extra.get("workers")
        worker = f"{workers} processes" if workers and manifest.parts > 1 else ""
        rows.append(StageRow(name, manifest.rows, manifest.dropped, manifest.seconds, worker))
    return rows


def training_notes(run: RunFolder, policies: Sequence[str]) -> list[str]:
    """What the trainings of these policies warned of, and why one of them shared no prompts, if one did not."""
    notes = []
    for name in policies:
        manifest = Manifest.load(run.policy(name))
        checks = manifest.extra.get("checks", {}) if manifest is not None else {}
        notes += [f"While {name} was trained: {text}." for text in checks.get("warnings", {}).values()]
        sharing = checks.get("prefix_sharing") or {"shared": True}
        if not sharing["shared"]:
            notes.append(f"{name} was trained without sharing prompts: {sharing['reason']}.")
    return notes


def training_curves(run: RunFolder) -> list[Curve]:
    """The logged numbers of every training of the run."""
    curves = []
    for path in sorted(run.root.rglob(artifact.LOG)):
        log = artifact.read_log(path.parent)
        for name in _CURVES:
            points = [(row["step"], row[name]) for row in log if name in row]
            if points:
                steps, values = zip(*points, strict=True)
                curves.append(Curve(path.parent.name, name, steps, values))
    return curves


def pair_set(run: RunFolder, name: str, arm: Arm) -> PairSet:
    """Scores and lengths of both sides of an arm's pairs; of verdicts, desirable and undesirable are the sides."""
    judge, table = folder_name(arm.judge), table_of_arm(run, name, arm)
    chosen: list[str] = []
    rejected: list[str] = []
    for row in table.iter_rows():
        if isinstance(row, Verdict):
            (chosen if row.desirable else rejected).append(row.candidate_id)
        else:
            chosen.append(row.chosen_id)
            rejected.append(row.rejected_id)
    values = {s.candidate_id: s.value for s in run.scores(judge).iter_rows()}
    words = {c.id: len(c.text.split()) for c in run.candidates.iter_rows()}

    def scores(ids: Sequence[str]) -> list[float]:
        return [v for v in (values[i] for i in ids) if v is not None]

    return PairSet(
        arm=name,
        judge=judge,
        chosen_scores=scores(chosen),
        rejected_scores=scores(rejected),
        chosen_words=[words[i] for i in chosen],
        rejected_words=[words[i] for i in rejected],
        audit=_flat_audit(table),
        verdicts=table.record is Verdict,
    )


def _flat_audit(table: Table[Any]) -> dict[str, float]:
    """The plain numbers of the audit that was stored with the pairs; verdicts have none."""
    audit = table.info(0).extra.get("audit", {})
    return {k: v for k, v in audit.items() if isinstance(v, int | float)}


def _cases(
    run: RunFolder, studies: Sequence[Study], results: Sequence[PolicyResults], judges: Sequence[str], *, seed: int
) -> list[Case]:
    texts = {r.name: {p.study_id: p.text for p in run.predictions(r.name).iter_rows()} for r in results}
    cases = []
    for i in _chosen_cases(studies, results, seed=seed):
        study = studies[i]
        shown = [r for r in results if r.name != CONTROL]
        cases.append(
            Case(
                study_id=study.id,
                images=[_case_image(run, image) for image in study.images],
                indication=study.indication,
                reference=study.reference,
                reference_labels=_labels(study.reference),
                texts={r.name: texts[r.name][study.id] for r in shown},
                labels={r.name: _labels(texts[r.name][study.id]) for r in shown},
                scores={r.name: {j: float(r.values[j][i]) for j in judges} for r in shown},
            )
        )
    return cases


def _chosen_cases(studies: Sequence[Study], results: Sequence[PolicyResults], *, seed: int) -> list[int]:
    """Indices of studies: most improved, most worsened, and a draw from the rest; follows from the seed."""
    lot = sorted(range(len(studies)), key=lambda i: keyed_seed(seed, "case", studies[i].id))
    ranked_by = _ranked(results)
    if ranked_by is None:
        return lot[: 2 * _BY_CHANGE + _BY_LOT]
    before, after = ranked_by
    change = np.nan_to_num(after.values[_RANKED_BY] - before.values[_RANKED_BY])  # unscored: no change to show
    ranked = sorted(lot, key=lambda i: -change[i])
    extremes = ranked[:_BY_CHANGE] + ranked[-_BY_CHANGE:]
    return list(dict.fromkeys(extremes + lot))[: 2 * _BY_CHANGE + _BY_LOT]


def _ranked(results: Sequence[PolicyResults]) -> tuple[PolicyResults, PolicyResults] | None:
    """The two policies whose difference in label agreement ranks the cases; None where it was not measured."""
    before = next(r for r in results if r.name == BASELINE)
    after = next((r for r in results if r.name not in (BASELINE, CONTROL)), None)
    return (before, after) if after is not None and _RANKED_BY in after.values else None


def _labels(text: str) -> list[str]:
    return sorted(positives(text) - {"No Finding"})


def _case_image(run: RunFolder, image: ImageRef) -> CaseImage:
    from PIL import Image

    with Image.open(Path(run.image_path(image))) as opened:
        gray = opened.convert("L")
        gray.thumbnail((_CASE_SIDE_PX, _CASE_SIDE_PX))
        buffer = BytesIO()
        gray.save(buffer, format="PNG")
    return CaseImage(buffer.getvalue(), image.view, image.synthetic)
