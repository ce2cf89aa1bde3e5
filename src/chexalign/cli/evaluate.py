"""`chexalign evaluate`: every metric of every policy of a run, with intervals."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from chexalign.cli.carry_out import add_arguments, with_workflow
from chexalign.cli.options import print_rows

if TYPE_CHECKING:
    from chexalign.types import Estimate
    from chexalign.workflow import Workflow

HELP = "Compares the policies of a recipe on its evaluated split, after whatever that rests on."
EXAMPLE = "chexalign evaluate demo --json"

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Prints one row per estimate; a row with a baseline is a paired difference against it."""

    def work(workflow: Workflow) -> None:
        row = dataclasses.asdict if args.json else _readable
        print_rows([row(e) for e in workflow.estimates()], as_json=args.json)

    return with_workflow(args, work)


def _readable(estimate: Estimate) -> dict[str, Any]:
    """What fits on a line, numbers with three decimals; --json has the rest."""
    e = estimate
    numbers = {"value": e.value, "low": e.low, "high": e.high}
    shown = {name: None if number is None else f"{number:.3f}" for name, number in numbers.items()}
    return {"metric": e.metric, "policy": e.policy, "baseline": e.baseline, **shown, "level": e.level, "n": e.n}
