"""`chexalign data stats`: what prepared tables hold, as counts and as a page."""

from __future__ import annotations

import argparse

from chexalign.cli.options import add_json, add_runs, add_set

HELP = """..."""
EXAMPLE = "chexalign data stats prepared/mimic --out mimic.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FOLDER or RECIPE, --out."""
    parser.add_argument("target", metavar="FOLDER", help="a folder of tables, or the recipe of a run")
    add_set(parser)
    add_runs(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """..."""
    return 0
