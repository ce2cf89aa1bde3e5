"""`chexalign judge`: scores of every judge that the recipe names."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from chexalign.cli.carry_out import add_arguments, print_manifests, with_workflow

if TYPE_CHECKING:
    from chexalign.workflow import Workflow

HELP = "Scores the candidates with the judges of all arms, after whatever they rest on."
EXAMPLE = "chexalign judge demo"

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Prints where the scores are and how many."""

    def work(workflow: Workflow) -> None:
        from chexalign.recipe import folder_name

        manifests = {}
        for arm in workflow.recipe.resolved_arms().values():
            manifests[str(workflow.run.scores(folder_name(arm.judge)).folder)] = workflow.scores(arm.judge)
        print_manifests(manifests, as_json=args.json)

    return with_workflow(args, work)
