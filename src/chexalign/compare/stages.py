"""The tables of what runs were made from: algorithms and their time (1), split sizes (6), preference data (8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from chexalign.compare.grid import Cell, Column, Grid, Line, counted
from chexalign.compare.side import Side
from chexalign.data.questions import TRAIN
from chexalign.pairs.stage import table_of_arm
from chexalign.recipe import Arm, MinedArm, folder_name
from chexalign.recipe.mine import SFT_AGAIN
from chexalign.store import Manifest
from chexalign.types import Estimate

_ORDER = ("sft", "prefer", "train", "validation", "test")
_ONCE = "measured once, by the clock of the machine that trained"
_COUNTED = "all of them are counted"
_DESCRIBED = "describes all pairs of the run, whose sd is told beside"
_OWN_BLOCK = ("algorithm", "learning_rate", "epochs", "global_batch", "warmup_ratio", "max_grad_norm")


def algorithms_grid(sides: Sequence[Side]) -> Grid:
    """Table 1: what each arm was trained by, and the time of an epoch relative to the DPO arm of its run."""
    columns = [
        Column("algorithm", "Algorithm"),
        Column("judge", "Judge"),
        Column("rule", "Pair rule"),
        Column("parameters", "Parameters"),
        Column("train.rows", "Rows", 0),
        Column("train.seconds_per_epoch", "Seconds per epoch", 1),
        Column("train.relative_seconds", "Relative to DPO", 2),
    ]
    lines = [line for side in sides for line in _algorithm_lines(side)]
    notes = [
        "Time is that of training alone, without reference log-probs. It is compared within a run, where the machine "
        "is the same; arms differ in rows."
    ]
    return Grid("1", "Algorithms", columns, lines, notes)


def _algorithm_lines(side: Side) -> list[Line]:
    arms, lines = side.recipe.learners(), []
    manifests = {name: Manifest.load(side.run.policy(name)) for name in arms}
    base = next((name for name, arm in arms.items() if arm.train.algorithm == "dpo" and manifests[name]), None)
    for name, arm in arms.items():
        spec = arm.train.model_dump(mode="json", exclude_none=True)
        told = {key: value for key, value in spec.items() if key not in _OWN_BLOCK}
        if arm.train.algorithm == SFT_AGAIN:
            del told["label_smoothing"]  # which it does not take
        own = ", ".join(f"{key} {value}" for key, value in told.items())
        by = _told_by(arm)
        words = [Cell(text=text) for text in (arm.train.algorithm, *by, own or "–")]
        numbers = _times(side, name, manifests[name], manifests[base] if base else None, base)
        lines.append(Line(side.label, name, [*words, *numbers]))
    return lines


def _told_by(arm: Arm | MinedArm) -> tuple[str, str]:
    """What says which of two texts is better, and how pairs were found."""
    return (folder_name(arm.judge), arm.pairs.rule) if isinstance(arm, Arm) else ("right answers", f"set {arm.select}")


def _times(side: Side, name: str, mine: Manifest | None, base: Manifest | None, base_name: str | None) -> list[Cell]:
    if mine is None:
        return [Cell(why=f"policy/{name} of {side.label} has no manifest")] * 3
    arms = side.recipe.learners()
    seconds = mine.seconds / arms[name].train.epochs
    source = f"{side.label}/policy/{name}/manifest.json: "
    out = [
        _once("train.rows", name, mine.rows, f"{source}rows", _COUNTED, mine.rows),
        _once("train.seconds_per_epoch", name, seconds, f"{source}seconds / train.epochs", _ONCE, 1),
    ]
    if base is None or base_name is None or not base.seconds:
        return [*out, Cell(why=f"{side.label} has no DPO arm whose time is known")]
    ratio = seconds / (base.seconds / arms[base_name].train.epochs)
    where = f"{source}seconds, over that of policy/{base_name}"
    return [*out, _once("train.relative_seconds", name, ratio, where, _ONCE, 1)]


def _once(metric: str, policy: str, value: float, source: str, why: str, n: int) -> Cell:
    clusters = n if n == 1 else 0  # whose rows these are is not told
    return Cell(Estimate(metric, policy, "", value, None, None, 0.0, n, clusters, f"no interval: {why}"), source)


def splits_grid(sides: Sequence[Side]) -> Grid:
    """Table 6: studies of each split, and what was left out for which reason."""
    counts = {side.label: _split_counts(side) for side in sides}
    found = {split for of_side in counts.values() for split in of_side}
    splits = [s for s in _ORDER if s in found] + sorted(found - set(_ORDER))
    columns = [Column(f"studies.{split}", split, 0) for split in splits]
    columns.append(Column("studies.dropped", "left out", 0))
    lines, notes = [], ["n is the number of studies, clusters that of patients."]
    for side in sides:
        manifest = Manifest.load(side.run.studies.folder)
        dropped = manifest.dropped if manifest else {}
        cells = [_split_cell(side, split, counts[side.label].get(split)) for split in splits]
        total = sum(dropped.values())
        where = f"{side.label}/studies/manifest.json: dropped"
        cells.append(_once("studies.dropped", side.label, total, where, _COUNTED, total))
        lines.append(Line(side.label, side.recipe.data.source, cells))
        if dropped:
            told = ", ".join(f"{reason} {n:,}" for reason, n in dropped.items())
            notes.append(f"Left out of {side.label}: {told}.")
    return Grid("6", "Studies by split", columns, lines, notes, every_n=True)


def _split_cell(side: Side, split: str, counts: tuple[int, int] | None) -> Cell:
    if counts is None:
        return Cell(why=f"{side.label} has no split {split}")
    n, patients = counts
    method = f"no interval: {_COUNTED}"
    found = Estimate(f"studies.{split}", side.label, split, n, None, None, 0.0, n, patients, method)
    return Cell(found, f"{side.label}/studies: rows with split {split}")


def _split_counts(side: Side) -> Mapping[str, tuple[int, int]]:
    manifest, table = Manifest.load(side.run.studies.folder), side.run.studies
    rows: Counter[str] = Counter()
    patients: dict[str, set[str]] = {}
    for index in range(manifest.parts if manifest else 0):
        splits, whose = table.column(index, "split"), table.column(index, "patient_id")
        rows.update(splits)
        for split, patient in zip(splits, whose, strict=True):
            patients.setdefault(split, set()).add(patient)
    return {split: (n, len(patients[split])) for split, n in rows.items()}


def pairs_grid(sides: Sequence[Side]) -> Grid:
    """Table 8: score and length of the chosen and of the rejected reports of every arm."""
    columns = [
        Column(f"{what}.{statistic}", f"{label}, {statistic}", decimals)
        for what, label, decimals in (("score", "Score", 3), ("words", "Words", 1))
        for statistic in ("mean", "median", "sd")
    ]
    lines = [line for side in sides for line in _pair_lines(side, columns)]
    notes = [
        "Scores are those of the arm's own judge; n is the number of pairs, or of texts where an arm "
        "learns from verdicts on single ones; clusters are patients."
    ]
    return Grid("8", "Chosen and rejected reports", columns, lines, notes)


_PAIR_SIDES = ("chosen", "rejected")
_VERDICT_SIDES = ("desirable", "undesirable")  # of an arm that learns from verdicts on single candidates


def _pair_lines(side: Side, columns: Sequence[Column]) -> list[Line]:
    lines = []
    for name, arm in side.recipe.learners().items():
        table = table_of_arm(side.run, name, arm)
        audit, kind = _audit(table), table.folder.relative_to(side.run.root)
        for which in _VERDICT_SIDES if audit is not None and "desirable" in audit else _PAIR_SIDES:
            if audit is None:
                cells = [Cell(why=f"{kind} of {side.label} has no audit")] * len(columns)
            else:
                split = side.recipe.sample.split if isinstance(arm, Arm) else TRAIN
                cells = [_audit_cell(side, name, split, f"{kind}", which, column, audit) for column in columns]
            lines.append(Line(side.label, f"{name}, {which}", cells))
    return lines


def _audit(table: Any) -> Mapping[str, Any] | None:
    if Manifest.load(table.folder) is None:
        return None
    found: Mapping[str, Any] | None = table.info(0).extra.get("audit")
    return found


def _audit_cell(
    side: Side, arm: str, split: str, kind: str, which: str, column: Column, audit: Mapping[str, Any]
) -> Cell:
    what, statistic = column.metric.split(".")
    if what not in audit[which]:
        return Cell(why=f"{arm} of {side.label} learned from answers, of which one is right: they have no score")
    n, patients = audit.get("n_pairs", audit.get(f"n_{which}")), audit.get("n_patients")
    cell = counted(
        f"pairs.{which}.{column.metric}",
        arm,
        split,
        audit[which][what][statistic],
        n=n,
        n_clusters=n if patients is None else patients,
        why=_DESCRIBED,
    )
    source = f"{side.label}/{kind}/part-00000.json: extra.audit.{which}.{what}.{statistic}"
    return Cell(cell.estimate, source, why=cell.why)
