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
    from chexalign.store import Manifest
    from chexalign.workflow import Workflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RECIPE, --set, --runs, --json."""
    add_recipe(parser)
    add_runs(parser)
    add_json(parser)


def with_workflow(args: argparse.Namespace, work: Callable[[Workflow], None]) -> int:
    """Does `work` on the recipe's run, which this process alone holds meanwhile."""
    from chexalign.recipe_load import load_recipe
    from chexalign.stage import locked
    from chexalign.workflow import Workflow, open_run

    recipe = load_recipe(args.recipe, args.set)
    root = Path(args.runs) / recipe.run
    with locked(root):
        work(Workflow(recipe, open_run(recipe, Path(args.runs))))
    return 0


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
