"""Which cards a folder has."""

from __future__ import annotations

from pathlib import Path

from chexalign.audit.tables import open_prepared
from chexalign.cards.dataset import data_card, preferences_card
from chexalign.cards.model import model_card
from chexalign.compare.side import recipe_of
from chexalign.errors import UserError
from chexalign.run_folder import RunFolder


def cards(folder: Path, arm: str | None = None) -> dict[str, str]:
    """File name -> card: model and preferences of each arm of a run or of one, and the tables of the folder.

    Raises: UserError for a folder with neither, an arm that the run does not have, and what is not finished.
    """
    if not RunFolder(folder).recipe.is_file():
        if arm is not None:
            raise UserError(
                f"--arm {arm} with {folder}, which is no run folder.",
                "There is no recipe.yaml in it, so it has no arms.",
                "Leave --arm out for the card of prepared tables.",
            )
        return {"data.md": data_card(open_prepared(folder))}
    run, recipe = RunFolder(folder), recipe_of(folder)
    arms = list(recipe.learners())
    if arm is not None and arm not in arms:
        raise UserError(
            f"--arm {arm}", f"The arms of the run are {', '.join(arms) or 'none'}.", "Name one of them, or none."
        )
    out = {}
    for name in arms if arm is None else [arm]:
        out[f"{name}-model.md"] = model_card(run, recipe, name)
        out[f"{name}-preferences.md"] = preferences_card(run, recipe, name)
    return {**out, "data.md": data_card(open_prepared(folder))}
