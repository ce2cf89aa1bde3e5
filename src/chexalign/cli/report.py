"""`chexalign report`: report.html of a finished run, written anew."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from chexalign.cli.carry_out import add_arguments, with_workflow

if TYPE_CHECKING:
    from chexalign.workflow import Workflow

HELP = "Writes report.html of a run whose estimates are there; computes nothing else."
EXAMPLE = "chexalign report demo"

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Prints where the report is."""

    def work(workflow: Workflow) -> None:
        from chexalign.present.collect import collect
        from chexalign.present.html import write_report

        write_report(collect(workflow.run, workflow.recipe, workflow.policies), workflow.run.report)
        print(workflow.run.report)

    return with_workflow(args, work)
