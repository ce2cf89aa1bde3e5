"""`chexalign export`: the preferences of an arm for another trainer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexalign.cli.carry_out import hold, print_manifests
from chexalign.cli.options import add_json, add_recipe, add_runs
from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.workflow import Workflow

HELP = """Writes the pairs or verdicts of an arm, with texts and images by path, for another trainer.

The folder holds report text: it is readable by its owner only, and bound by the terms of the studies."""
EXAMPLE = "chexalign export demo --arm dpo_label --format trl --to exported"

_FORMATS = ("trl", "trl-unpaired", "ms-swift", "jsonl")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RECIPE, --set, --arm, --format, --to, --runs, --json."""
    add_recipe(parser)
    parser.add_argument("--arm", metavar="ARM", help="which arm; may be left out where the recipe has one")
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        default="trl",
        help="trl and trl-unpaired are Parquet, the others JSON lines (default: trl)",
    )
    parser.add_argument("--to", metavar="DIR", type=Path, required=True, help="a new folder, or that of an export")
    add_runs(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints where the export is and how many rows it has; what the arm learns from must be there already."""
    from chexalign.recipe.load import load_recipe

    recipe = load_recipe(args.recipe, args.set)
    arms = recipe.learners()
    name = args.arm or (next(iter(arms)) if len(arms) == 1 else None)
    if name not in arms:
        raise UserError(
            f"--arm {args.arm}" if args.arm else "no --arm was given",
            f"the arms of the recipe are {', '.join(arms) or 'none'}",
            f"for example --arm {next(iter(arms))}" if arms else "use a recipe with arms: only they have preferences",
        )
    arm = arms[name]
    if not (args.runs / recipe.run).is_dir():
        raise UserError(
            f"there is no run {args.runs / recipe.run}",
            "an export holds what a run has made",
            f"make the pairs with `chexalign pair {args.recipe}`, or name the folder of the run folders with --runs",
        )

    def work(workflow: Workflow) -> None:
        from chexalign.mine.export import export_mined
        from chexalign.pairs.export import export
        from chexalign.pairs.stage import table_of_arm

        run = workflow.run
        how: dict[str, Any] = {"format": args.format, "max_images": recipe.policy.max_images}
        if recipe.mine is not None and name in recipe.mined_arms():
            manifest = export_mined(run, recipe.mine.collection, run.pairs(name), args.to, **how)
        else:
            manifest = export(run, table_of_arm(run, name, arm), args.to, **how)
        print_manifests({str(args.to): manifest}, as_json=args.json)

    hold(recipe, args.runs, work)
    return 0
