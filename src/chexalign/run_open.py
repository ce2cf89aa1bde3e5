"""The folder of a run, opened for the recipe that it belongs to."""

from __future__ import annotations

from pathlib import Path

from chexalign import atomic, ids
from chexalign.errors import UserError
from chexalign.recipe import Recipe
from chexalign.run_folder import RunFolder


def open_run(recipe: Recipe, runs: Path) -> RunFolder:
    """The run's folder, with the resolved recipe in it.

    Raises: UserError when the folder belongs to another recipe, or cannot be written.
    """
    run = RunFolder(runs / recipe.run)
    if run.recipe.is_file() and ids.digest(run.recipe.read_text()) != ids.digest(recipe.to_yaml()):
        there = _recipe_of(run)
        if there.digest() != recipe.digest():
            raise another_recipe(run, recipe, there)
    elif not run.recipe.is_file():
        atomic.make_folder(run.root)
        atomic.write_text(run.recipe, recipe.to_yaml())
    return run


def _recipe_of(run: RunFolder) -> Recipe:
    """The recipe that a run folder was made by."""
    import yaml
    from pydantic import ValidationError

    try:
        return Recipe.model_validate(yaml.safe_load(run.recipe.read_text()))
    except (yaml.YAMLError, ValidationError) as e:
        raise UserError(
            f"The recipe in the run folder {run.root} cannot be read.",
            "It was written by another version of chexalign, or changed since.",
            f"Give this run a name with --set run=NAME, or delete {run.root}.",
        ) from e


def another_recipe(run: RunFolder, recipe: Recipe, there: Recipe) -> UserError:
    """The error for a run folder that was made by another recipe; it names the blocks that differ."""
    mine, theirs = recipe.substance(), there.substance()
    blocks = sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))
    return UserError(
        f"The run folder {run.root} holds a run of another recipe (different: {', '.join(blocks)}).",
        "Its tables would be mixed with those of this recipe.",
        f"Give this run a name with --set run=NAME, or delete {run.root}.",
    )
