"""`chexalign evaluate`: every metric of every policy of a run, with intervals."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from chexalign.cli.carry_out import add_arguments, with_workflow
from chexalign.cli.options import print_rows

if TYPE_CHECKING:
    from chexalign.workflow import Workflow

HELP = "Compares the policies of a recipe on its evaluated split, after whatever that rests on."
EXAMPLE = "chexalign evaluate demo --json"

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Prints one row per estimate."""

    def work(workflow: Workflow) -> None:
        print_rows([dataclasses.asdict(e) for e in workflow.estimates()], as_json=args.json)

    return with_workflow(args, work)
