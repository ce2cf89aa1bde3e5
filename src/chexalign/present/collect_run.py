"""What the stages of a run left behind, for its report: their rows, training curves and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chexalign import artifact
from chexalign.pairs.stage import table_of_arm
from chexalign.present.data import Curve, PairSet, StageRow
from chexalign.recipe import Arm, folder_name
from chexalign.run_folder import RunFolder
from chexalign.store import MANIFEST, Manifest, Table
from chexalign.types import Verdict

_CURVES = ("loss", "reward_margin", "accuracy")


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
    """The plain numbers of the audit that was stored with the pairs or verdicts."""
    audit = table.info(0).extra.get("audit", {})
    return {k: v for k, v in audit.items() if isinstance(v, int | float)}
