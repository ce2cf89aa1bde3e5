"""`chexalign run`: a whole recipe, from its data to report.html."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from chexalign.cli.carry_out import add_arguments, with_workflow

if TYPE_CHECKING:
    from chexalign.workflow import Workflow

HELP = "Runs every stage of a recipe that is not done yet, and writes its report; goes on where it was stopped."
EXAMPLE = "chexalign run demo --set seed=12 --set run=demo-seed12"

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Prints the estimates that answer what the run set out to show, and where the report is."""

    def work(workflow: Workflow) -> None:
        from chexalign.present.collect import collect
        from chexalign.present.html import write_report
        from chexalign.present.tables import terminal_summary

        started = time.perf_counter()
        workflow.estimates()
        data = collect(workflow.run, workflow.recipe, workflow.policies)
        write_report(data, workflow.run.report)
        if args.json:
            print(workflow.run.estimates.read_text(), end="")
        else:
            print(terminal_summary(data, workflow.run.report))
        print(f"this call took {(time.perf_counter() - started) / 60:.1f} min", file=sys.stderr)

    return with_workflow(args, work)
