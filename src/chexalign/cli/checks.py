"""What can be known of a recipe before anything is spent: that its names mean something, and that there is data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chexalign.errors import UserError
from chexalign.registry import registry

if TYPE_CHECKING:
    from chexalign.data.base import Item
    from chexalign.recipe import MineSpec, Recipe, TrainSpec


def check_names(recipe: Recipe) -> None:
    """Loads every dataset, template, judge, pair rule and loss that the recipe names.

    Raises: UserError for a name that is unknown or cannot be loaded, options that a judge does not take, a parameter
    that a plugin's loss needs, or a policy folder that is not there or that only code of its own could load.
    """
    from chexalign.judges.stage import make_judge
    from chexalign.pairs.stage import check_rule

    registry("datasets").get(recipe.data.source)
    _check_template(recipe.policy.template)
    for arm in recipe.resolved_arms().values():
        make_judge(arm.judge)
        check_rule(arm, seed=recipe.seed)
        _check_loss(arm.train)
    if recipe.mine is not None:
        check_mining(recipe.mine)
    for metric in recipe.evaluate.metrics:
        make_judge(metric)
    if recipe.policy.model != "tiny" and not (Path(recipe.policy.model) / "config.json").is_file():
        raise UserError(
            f"policy.model is {recipe.policy.model!r}",
            "it is neither `tiny` nor a folder with a config.json in Hugging Face format",
            "give the folder of a downloaded model; nothing is downloaded at run time",
        )
    if recipe.policy.model != "tiny":
        _check_code(Path(recipe.policy.model), allowed=recipe.policy.trust_remote_code)


def check_mining(mine: MineSpec) -> None:
    """What a block `mine` names: combinations of likeness, encoders, the prompt of a language model, and losses.

    Raises: UserError for one that is unknown, and for a folder or a file that is not there.
    """
    from chexalign.mine.llm.prompt import CounterfactualPrompt
    from chexalign.mine.vectors.variants import weights_of
    from chexalign.recipe.mine import SFT_AGAIN

    for variant in (mine.likeness, *mine.purity):
        weights_of(variant)
    for name in ("text_folder", "image_folder"):
        folder = getattr(mine.encoders, name)
        if folder is not None and not folder.is_dir():
            raise UserError(
                f"mine.encoders.{name} is {str(folder)!r}",
                "there is no such folder, and nothing is downloaded at run time",
                "give the folder of a model on this machine, or use the encoder `policy`",
            )
    if mine.counterfactual.generator == "llm":
        CounterfactualPrompt.load(mine.counterfactual.prompt)
    for arm in mine.arms.values():
        if arm.train.algorithm != SFT_AGAIN:
            _check_loss(arm.train)


def check_data(recipe: Recipe) -> tuple[list[Item], str]:
    """The studies that are there, and one line on them and on those that are left out, with reasons.

    Raises: UserError when the collection cannot be read or has fewer studies than `data.split` asks for.
    """
    from chexalign.workflow import make_dataset

    if recipe.data.images is not None and not recipe.data.images.is_dir():
        raise UserError(
            f"data.images is {str(recipe.data.images)!r}",
            "there is no such folder, and with it set no other images are looked for",
            "give the folder with the collection's image files, or leave data.images out",
        )
    items, dropped = make_dataset(recipe).items()
    reasons = ", ".join(f"{reason} {count}" for reason, count in dropped.items())
    return items, f"{len(items)} studies" + (f"; left out: {reasons}" if reasons else "")


def seen_in_training(recipe: Recipe) -> str | None:
    """A warning when the split that policies are compared on is also one that they learn from."""
    split = recipe.evaluate.split
    learnt = {recipe.sample.split} if recipe.resolved_arms() else set()
    learnt |= {"sft"} if recipe.sft is not None else set()
    if split not in learnt:
        return None
    return f"evaluate.split is {split}, which the policies are trained on: the numbers will flatter them"


def _check_code(folder: Path, *, allowed: bool) -> None:
    """Code that the recipe allows is made known here, for all that this process loads."""
    from chexalign.policy.remote import check_remote, register_remote

    check_remote(folder, allowed=allowed)
    if allowed:
        register_remote(folder)


def _check_template(name: str) -> None:
    from chexalign.data.templates import TEMPLATES, get_template

    if get_template(name).asks:
        reports = sorted(other for other, template in TEMPLATES.items() if not template.asks)
        raise UserError(
            f"policy.template is {name}",
            "it is for questions about images, and a study of a recipe holds none",
            f"use a template for reports: {', '.join(reports)}",
        )


def _check_loss(train: TrainSpec) -> None:
    loss = registry("losses").get(train.algorithm)
    given = {name.rstrip("_") for name in train.parameters()}
    lacking = [name for name in getattr(loss, "required", ()) if name.rstrip("_") not in given]
    if lacking:
        raise UserError(
            f"train.{lacking[0]} is missing",
            f"{train.algorithm} needs {' and '.join(loss.required)}, and a scientific choice has no default",
            f"add `{lacking[0]}:` to the block train",
        )
