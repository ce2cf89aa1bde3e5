"""`chexalign mine`: hard questions, and preference pairs made of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from chexalign.cli.carry_out import add_arguments as add_common
from chexalign.cli.carry_out import print_manifests, with_workflow
from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.store import Manifest
    from chexalign.workflow import Workflow

HELP = (
    "Asks the SFT policy what it has learned, finds the questions that it fails although it is sure, and others like\n"
    "them, and puts a wrong answer beside each right one. Goes on where it was stopped, stage by stage."
)
EXAMPLE = "chexalign mine chexpo/quick --stage retrieve"

STAGES = ("confidence", "retrieve", "counterfactual", "pairs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RECIPE, --set, --runs, --json, --stage."""
    add_common(parser)
    parser.add_argument("--stage", choices=STAGES, default=STAGES[-1], help="the last stage to do; all when left out")


def run(args: argparse.Namespace) -> int:
    """Prints where the tables are, and what was dropped on the way."""
    from chexalign.recipe.load import load_recipe

    if load_recipe(args.recipe, args.set).mine is None:  # before a run folder is made
        raise UserError(
            f"The recipe {args.recipe} has no block `mine`.",
            "It says which questions are looked for and what is learned from them.",
            "Add it, or start from the recipe chexpo/openi.",
        )

    def work(workflow: Workflow) -> None:
        print_manifests(mined(workflow, args.stage), as_json=args.json)

    return with_workflow(args, work)


def mined(workflow: Workflow, last: str) -> dict[str, Manifest]:
    """The manifests of all stages up to the last one."""
    run, wanted = workflow.run, STAGES[: STAGES.index(last) + 1]
    made = {str(run.mine_answers.folder): workflow.mine_answers()}
    if "retrieve" in wanted:
        made |= {str(run.mined(name).folder): manifest for name, manifest in workflow.mined().items()}
    if "counterfactual" in wanted:
        made[str(run.counterfactuals.folder)] = workflow.counterfactuals()
    if "pairs" in wanted:
        for name, arm in workflow.recipe.mined_arms().items():
            made[str(run.pairs(name).folder)] = workflow.pairs(name, arm)
    return made
