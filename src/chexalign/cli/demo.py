"""`chexalign demo`: the embedded default, from real reports and synthetic images to a report with intervals."""

from __future__ import annotations

import argparse

from chexalign.cli import run as run_verb
from chexalign.cli.options import add_json, add_runs, add_set

HELP = (
    "Runs the recipe `demo`: real OpenI reports, synthetic images drawn from their codes, a tiny policy trained here,\n"
    "DPO with two judges and with coin-ordered pairs, and a report with intervals. Nothing is downloaded."
)
EXAMPLE = "chexalign demo --quick"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--quick, --set, --runs, --json."""
    parser.add_argument(
        "--quick", action="store_true", help="the same walk in small, under 3 minutes; its numbers mean nothing"
    )
    add_set(parser)
    add_runs(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints what `chexalign run` prints."""
    args.recipe = "quick" if args.quick else "demo"
    return run_verb.run(args)
