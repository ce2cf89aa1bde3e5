"""`chexalign train`: the aligned policy of every arm."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from chexalign.cli.carry_out import add_arguments, print_manifests, with_workflow

if TYPE_CHECKING:
    from chexalign.workflow import Workflow

HELP = (
    "Trains the policy of every arm on its pairs, after whatever it rests on.\n"
    "Over several processes: accelerate launch --multi_gpu --num_processes 2 -m chexalign.cli.main train RECIPE"
)
EXAMPLE = "chexalign train demo"

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Prints where the checkpoints are."""

    def work(workflow: Workflow) -> None:
        arms = workflow.recipe.learners()
        manifests = {str(workflow.run.policy(name)): workflow.train(name, arm) for name, arm in arms.items()}
        print_manifests(manifests, as_json=args.json)

    return with_workflow(args, work, together=True)
