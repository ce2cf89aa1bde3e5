"""`chexalign sample`: candidate reports of the SFT policy."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from chexalign.cli import carry_out
from chexalign.cli.carry_out import print_manifests, with_workflow
from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.run_folder import RunFolder
    from chexalign.workflow import Workflow

HELP = "Draws the candidates of a recipe, after whatever they rest on; goes on where it was stopped."
EXAMPLE = "chexalign sample demo --limit 200"

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RECIPE, --set, --runs, --json, --limit, --resume."""
    carry_out.add_arguments(parser)
    parser.add_argument(
        "--limit",
        metavar="N",
        type=_positive,
        help="stop after the first N prompts, rounded up to whole parts; a later call goes on from there",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="refuse to begin: go on with candidates that an earlier call drew (without it, both are done)",
    )


def run(args: argparse.Namespace) -> int:
    """Prints where the candidates are and how many."""

    def work(workflow: Workflow) -> None:
        carry_out.need_candidates(workflow.recipe)
        if args.resume:
            _need_parts(workflow.run)
        manifest = workflow.candidates(args.limit)
        print_manifests({str(workflow.run.candidates.folder): manifest}, as_json=args.json)
        if "usage" in manifest.extra:
            from chexalign.sample.usage import in_words

            print(in_words(manifest.extra["usage"]), file=sys.stderr)

    return with_workflow(args, work)


def _need_parts(run: RunFolder) -> None:
    if not any(run.candidates.folder.glob("part-*.parquet")):
        raise UserError(
            f"--resume was given, and {run.candidates.folder} holds no candidates.",
            "A misspelt run name or --runs would begin anew elsewhere, and cost the time that was spent already.",
            "Check --runs and the recipe's `run`, or leave out --resume to begin.",
        )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1 on")
    return int(text)
