"""`chexalign data`: collections made into tables, checked, and described."""

from __future__ import annotations

import argparse
import importlib

HELP = """Makes the tables of a collection, checks that their splits do not leak, and describes them.

`prepare` reads a collection as its owner ships it, `check` ends with exit code 1 where something is wrong, `stats`
prints counts and writes a page. docs/data.md has the collections, docs/data-check.md what is checked."""
EXAMPLE = "chexalign data prepare mimic-cxr --root mimic-cxr-jpg --out prepared/mimic"

_ACTIONS = {
    "prepare": ("chexalign.cli.data_prepare", "make the tables of a collection, or the studies of a recipe"),
    "check": ("chexalign.cli.data_check", "find what is in two splits, contradictions and damaged files"),
    "stats": ("chexalign.cli.data_stats", "counts, lengths, labels, and a page with plots and images"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """prepare, check and stats, each with its own arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    for name, (path, summary) in _ACTIONS.items():
        module = importlib.import_module(path)
        action = actions.add_parser(
            name, help=summary, description=module.HELP, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        action.example = module.EXAMPLE  # type: ignore[attr-defined]
        module.add_arguments(action)


def run(args: argparse.Namespace) -> int:
    """What the action does."""
    return int(importlib.import_module(_ACTIONS[args.action][0]).run(args))
