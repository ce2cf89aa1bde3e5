"""`chexalign pair`: preference pairs, a view over the scores."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from chexalign.cli.carry_out import add_arguments, print_manifests, with_workflow

if TYPE_CHECKING:
    from chexalign.workflow import Workflow

HELP = "Builds the pairs of all arms from the scores, after whatever they rest on."
EXAMPLE = "chexalign pair demo"

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Prints where the pairs are and how many."""

    def work(workflow: Workflow) -> None:
        arms = workflow.recipe.resolved_arms()
        manifests = {str(workflow.run.pairs(name).folder): workflow.pairs(name, arm) for name, arm in arms.items()}
        print_manifests(manifests, as_json=args.json)

    return with_workflow(args, work)
