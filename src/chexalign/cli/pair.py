"""`chexalign pair`: preference pairs, a view over the scores, and what they teach besides the judge's opinion."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from chexalign.cli.carry_out import add_arguments, print_manifests, with_workflow
from chexalign.cli.options import print_rows

if TYPE_CHECKING:
    from chexalign.workflow import Workflow

HELP = """Builds the pairs of all arms from scores or mined questions, after whatever they rest on.

Prints how many there are, how long and how well scored chosen and rejected are (mean, median and standard deviation),
what was dropped, and how far the arms' judges agree on which of two candidates is better."""
EXAMPLE = "chexalign pair demo"

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Prints where the pairs are and how many, with the audit of each arm."""

    def work(workflow: Workflow) -> None:
        from chexalign.pairs.stage import table_of_arm
        from chexalign.train.launch import is_first

        arms = workflow.recipe.learners()
        tables = {name: table_of_arm(workflow.run, name, arm) for name, arm in arms.items()}
        manifests = {str(tables[name].folder): workflow.pairs(name, arm) for name, arm in arms.items()}
        audits = {name: table.info(0).extra.get("audit", {}) for name, table in tables.items()}
        agreement = _agreement(workflow)
        if args.json and is_first():
            rows = {name: {"rows": m.rows, "dropped": m.dropped, "content": m.content} for name, m in manifests.items()}
            print(json.dumps({**rows, "audit": audits, "agreement": agreement}, indent=2))
            return
        print_manifests(manifests, as_json=False)
        for table in (audit_rows(audits), agreement):
            if table:
                print()
                print_rows(table, as_json=False)

    return with_workflow(args, work)


def audit_rows(audits: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per number of the audits, one column per arm; what no arm has is left out."""
    flat = {arm: _flat(audit) for arm, audit in audits.items()}
    names = list(dict.fromkeys(name for audit in flat.values() for name in audit))
    rows = [{"measure": name, **{arm: audit.get(name) for arm, audit in flat.items()}} for name in names]
    return [row for row in rows if any(value is not None for value in list(row.values())[1:])]


def _flat(audit: dict[str, Any], before: str = "") -> dict[str, str | None]:
    """The audit's numbers by name; a mean, a median and a standard deviation stand in one line."""
    found: dict[str, str | None] = {}
    for name, value in audit.items():
        name = before + name.replace("_", " ")
        if isinstance(value, dict) and value.keys() == {"mean", "median", "sd"}:
            found[f"{name} (mean, median, sd)"] = _triple(value)
        elif isinstance(value, dict):
            found |= _flat(value, f"{name} ")
        else:
            found[name] = None if value is None else _number(value)
    return found


def _triple(summary: dict[str, float | None]) -> str | None:
    if summary["mean"] is None:
        return None
    return " / ".join("-" if value is None else _number(value) for value in summary.values())


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def _agreement(workflow: Workflow) -> list[dict[str, Any]]:
    """The arms' judges by twos; mined pairs have none."""
    import dataclasses

    from chexalign.pairs.stage import judge_agreement
    from chexalign.recipe import folder_name

    judges = {folder_name(arm.judge) for arm in workflow.recipe.resolved_arms().values()}
    if not judges:
        return []
    rows = [dataclasses.asdict(found) for found in judge_agreement(workflow.run, sorted(judges))]
    return [{key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()} for row in rows]
