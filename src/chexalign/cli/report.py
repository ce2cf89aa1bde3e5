"""`chexalign report`: report.html of a finished run, written anew."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from chexalign.cli.carry_out import add_arguments, hold
from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.workflow import Workflow

HELP = "Writes report.html of a run whose estimates are there; computes nothing else."
EXAMPLE = "chexalign report demo"

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Prints where the report is; a run that is not there is told, not begun."""
    from chexalign.recipe.load import load_recipe

    recipe = load_recipe(args.recipe, args.set)
    if not (args.runs / recipe.run).is_dir():
        raise UserError(
            f"there is no run {args.runs / recipe.run}",
            "a report shows what a finished run has written there",
            f"run it with `chexalign run {args.recipe}`, or name the folder of the run folders with --runs",
        )

    def work(workflow: Workflow) -> None:
        from chexalign.present.collect import collect
        from chexalign.present.html import write_report

        write_report(collect(workflow.run, workflow.recipe, workflow.policies), workflow.run.report)
        print(workflow.run.report)

    hold(recipe, args.runs, work)
    return 0
