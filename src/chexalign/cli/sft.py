"""`chexalign sft`: the supervised policy, which candidates are drawn from."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from chexalign.cli.carry_out import add_arguments, print_manifests, with_workflow

if TYPE_CHECKING:
    from chexalign.workflow import Workflow

HELP = (
    "Fine-tunes the policy on the references of the sft split, after whatever it rests on.\n"
    "Over several processes: accelerate launch --multi_gpu --num_processes 2 -m chexalign.cli.main sft RECIPE"
)
EXAMPLE = "chexalign sft demo"

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Prints where the checkpoint is."""

    def work(workflow: Workflow) -> None:
        from chexalign.run_folder import SFT

        print_manifests({str(workflow.run.policy(SFT)): workflow.sft()}, as_json=args.json)

    return with_workflow(args, work, together=True)
