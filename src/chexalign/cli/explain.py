"""`chexalign explain`: every value of a recipe, where it came from and what it means."""

from __future__ import annotations

import argparse
import dataclasses

from chexalign.cli.options import add_json, add_recipe, print_rows

HELP = "Shows every value of a recipe: from which line, from --set, or by default."
EXAMPLE = "chexalign explain demo --set train.beta=0.05"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RECIPE, --set, --json."""
    add_recipe(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one row per value."""
    from chexalign.recipe.load import explain, read_source, validate

    source = read_source(args.recipe, args.set)
    rows = explain(validate(source), source)
    print_rows([dataclasses.asdict(row) for row in rows], as_json=args.json)
    return 0
