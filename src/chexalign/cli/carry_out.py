"""What the verbs that run stages share: open the run of a recipe, hold it, and go as far as the verb says."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chexalign.cli.options import add_json, add_recipe, add_runs

if TYPE_CHECKING:
    from chexalign.recipe import Recipe
    from chexalign.store import Manifest
    from chexalign.workflow import Workflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RECIPE, --set, --runs, --json."""
    add_recipe(parser)
    add_runs(parser)
    add_json(parser)


def with_workflow(args: argparse.Namespace, work: Callable[[Workflow], None]) -> int:
    """Does `work` on the recipe's run, once every name in the recipe is known to mean something.

    A misspelt judge is so told now, and not after the hours that come before it is asked.
    """
    from chexalign.cli.checks import check_names, seen_in_training
    from chexalign.recipe_load import load_recipe

    recipe = load_recipe(args.recipe, args.set)
    check_names(recipe)
    if warning := seen_in_training(recipe):
        print(f"warning: {warning}", file=sys.stderr)
    hold(recipe, args.runs, work)
    return 0


def hold(recipe: Recipe, runs: Path, work: Callable[[Workflow], None]) -> None:
    """Does `work` on the recipe's run, whose folder this process alone holds meanwhile."""
    from chexalign.stage import locked
    from chexalign.workflow import Workflow, open_run

    with locked(runs / recipe.run):
        work(Workflow(recipe, open_run(recipe, runs)))


def print_manifests(manifests: dict[str, Manifest], *, as_json: bool) -> None:
    """One line per table on stdout: where, how many rows, and how many were dropped for which reason."""
    if as_json:
        rows = {name: {"rows": m.rows, "dropped": m.dropped, "content": m.content} for name, m in manifests.items()}
        print(json.dumps(rows, indent=2))
        return
    for name, m in manifests.items():
        dropped = "".join(f", {n} dropped: {reason}" for reason, n in m.dropped.items())
        print(f"{name}: {m.rows} rows{dropped}")
    sys.stdout.flush()
