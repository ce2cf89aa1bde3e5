"""`chexalign sample`: candidate reports of the SFT policy."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from chexalign.cli.carry_out import add_arguments, print_manifests, with_workflow

if TYPE_CHECKING:
    from chexalign.workflow import Workflow

HELP = "Draws the candidates of a recipe, after whatever they rest on; goes on where it was stopped."
EXAMPLE = "chexalign sample demo"

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Prints where the candidates are and how many."""

    def work(workflow: Workflow) -> None:
        manifest = workflow.candidates()
        print_manifests({str(workflow.run.candidates.folder): manifest}, as_json=args.json)

    return with_workflow(args, work)
