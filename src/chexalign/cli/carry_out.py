"""What the verbs that run stages share: open the run of a recipe, hold it, and go as far as the verb says."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from chexalign.cli.options import add_json, add_recipe, add_runs
from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.recipe import Recipe
    from chexalign.run_folder import RunFolder
    from chexalign.store import Manifest
    from chexalign.workflow import Workflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RECIPE, --set, --runs, --json."""
    add_recipe(parser)
    add_runs(parser)
    add_json(parser)


def with_workflow(args: argparse.Namespace, work: Callable[[Workflow], None], *, together: bool = False) -> int:
    """Does `work` on the recipe's run, once every name in the recipe is known to mean something.

    A misspelt judge is so told now, and not after the hours that come before it is asked. `together` says that the work
    is one that several processes can share.
    """
    from chexalign.train.launch import finish, first_alone, n_processes

    if n_processes() > 1 and not together:
        raise one_process_only()
    recipe = first_alone(lambda: _checked(args))
    hold(recipe, args.runs, work)
    finish()
    return 0


def hold(recipe: Recipe, runs: Path, work: Callable[[Workflow], None]) -> None:
    """Does `work` on the recipe's run, whose folder this process, or the first of those launched, alone holds."""
    from chexalign.run_open import open_run
    from chexalign.stage import locked
    from chexalign.train.launch import first_alone, is_first
    from chexalign.workflow import Workflow

    with ExitStack() as held:

        def open_it() -> RunFolder:
            if is_first():
                held.enter_context(locked(runs / recipe.run))
            return open_run(recipe, runs)

        work(Workflow(recipe, first_alone(open_it)))


def need_candidates(recipe: Recipe) -> None:
    """Raises: UserError for a recipe that nothing draws candidates for."""
    if not recipe.resolved_arms():
        raise UserError(
            f"The recipe {recipe.run} has no arm that learns from candidates.",
            "Candidates are drawn, and judges asked about them, for such arms; mined questions need neither.",
            "Use `chexalign mine` or `chexalign run`, or give the recipe a judge, pairs and train.",
        )


def one_process_only() -> UserError:
    """The error for a verb that was launched over several processes and cannot share its work."""
    return UserError(
        "This verb was launched over several processes.",
        "Only training is shared out; the other stages spread over processes of their own (the recipe's `workers`).",
        "Launch `chexalign sft` and `chexalign train` in this way, and then call this verb by itself.",
    )


def _checked(args: argparse.Namespace) -> Recipe:
    """The recipe, after all that can be known to be wrong with it."""
    from chexalign.cli.checks import check_names, seen_in_training
    from chexalign.cli.hardware import check_hardware
    from chexalign.recipe.load import load_recipe
    from chexalign.train.launch import is_first

    recipe = load_recipe(args.recipe, args.set)
    check_names(recipe)
    check_hardware(recipe)
    if is_first() and (warning := seen_in_training(recipe)):
        print(f"warning: {warning}", file=sys.stderr)
    return recipe


def print_manifests(manifests: dict[str, Manifest], *, as_json: bool) -> None:
    """One line per table on stdout: where, how many rows, and how many were dropped for which reason."""
    from chexalign.train.launch import is_first

    if not is_first():
        return
    if as_json:
        rows = {name: {"rows": m.rows, "dropped": m.dropped, "content": m.content} for name, m in manifests.items()}
        print(json.dumps(rows, indent=2))
        return
    for name, m in manifests.items():
        dropped = "".join(f", {n} dropped: {reason}" for reason, n in m.dropped.items())
        print(f"{name}: {m.rows} rows{dropped}")
    sys.stdout.flush()
