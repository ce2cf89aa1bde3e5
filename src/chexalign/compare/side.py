"""The runs of a comparison, opened and checked: what cannot stand side by side is refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chexalign.errors import UserError
from chexalign.evaluate.numbers import Numbers
from chexalign.evaluate.stage import read_numbers
from chexalign.recipe import Recipe, folder_name
from chexalign.run_folder import SFT, RunFolder
from chexalign.store import Manifest


@dataclass(frozen=True, slots=True)
class JudgeUsed:
    """Which judge gave a run's scores: `name@version`, and its options as the recipe has them."""

    name: str
    options: str


@dataclass(frozen=True, slots=True)
class Side:
    """One finished run; `label` is the name of the run, told apart where two have the same."""

    label: str
    run: RunFolder
    recipe: Recipe
    numbers: Numbers
    judges: dict[str, JudgeUsed] = field(default_factory=dict)  # by folder; those that scored every policy
    missing: dict[str, str] = field(default_factory=dict)  # folder of a judge -> why its scores are not there

    @property
    def split(self) -> str:
        """The split that reports were compared on."""
        return self.recipe.evaluate.split

    @property
    def policies(self) -> list[str]:
        """The SFT policy and the arms, without the control, as far as they were evaluated."""
        there = {e.policy for e in self.numbers.estimates}
        return [name for name in (SFT, *self.recipe.learners()) if name in there]

    def algorithm(self, policy: str) -> str:
        """What a policy was trained by: `sft`, or the algorithm of its arm."""
        arms = self.recipe.learners()
        return arms[policy].train.algorithm if policy in arms else policy


def open_sides(folders: Sequence[Path]) -> list[Side]:
    """The runs in the order given.

    Raises: UserError for a folder that is no run or is not evaluated, and for runs whose split, references or judges
    differ, by name.
    """
    names: Counter[str] = Counter()
    sides = []
    for folder in folders:
        recipe = recipe_of(folder)
        names[recipe.run] += 1
        label = recipe.run if names[recipe.run] == 1 else f"{recipe.run} ({names[recipe.run]})"
        sides.append(_opened(label, RunFolder(folder), recipe))
    for side in sides[1:]:
        _check_splits(sides[0], side)
    for one, other in _pairs(sides):
        _check_judges(one, other)
    return sides


def recipe_of(folder: Path) -> Recipe:
    """The recipe that a run folder was made by.

    Raises: UserError when the folder is none, or its recipe cannot be read.
    """
    import yaml
    from pydantic import ValidationError

    path = RunFolder(folder).recipe
    if not path.is_file():
        raise UserError(
            f"{folder} is no run folder.",
            "There is no recipe.yaml in it, which every run begins with.",
            "Give the folder of a run that is finished, such as runs/demo.",
        )
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as e:
        raise UserError(
            f"{path} cannot be read.",
            "It was written by another version of chexalign, or changed since.",
            "Use the version that the run was made with, or run it again.",
        ) from e


def _opened(label: str, run: RunFolder, recipe: Recipe) -> Side:
    side = Side(label, run, recipe, read_numbers(run))
    for judge in recipe.measured():
        name = folder_name(judge)
        used = None
        for policy in side.policies:
            table = run.metric(name, policy)
            manifest = Manifest.load(table.folder)
            if manifest is None or not manifest.rows:
                side.missing[name] = f"{table.folder.relative_to(run.root)} is not there or not finished"
                break
            blocks = manifest.config.get("blocks", [])
            told = json.dumps(blocks[0], sort_keys=True) if blocks else ""
            used = JudgeUsed(table.column(0, "judge")[0], told)
        else:
            if used is not None:
                side.judges[name] = used
    return side


def _pairs(sides: Sequence[Side]) -> Iterator[tuple[Side, Side]]:
    for i, one in enumerate(sides):
        yield from ((one, other) for other in sides[i + 1 :])


def _check_splits(first: Side, other: Side) -> None:
    if first.split != other.split:
        raise UserError(
            f"{first.label} was evaluated on the split {first.split}, and {other.label} on {other.split}.",
            "Numbers of different studies do not stand in one table.",
            f"Set evaluate.split to {first.split} in the recipe of {other.label}, and evaluate it again.",
        )
    mine, theirs = first.recipe.data.normalizer, other.recipe.data.normalizer
    if mine != theirs:
        raise UserError(
            f"The references of {first.label} are {mine}, and those of {other.label} are {theirs}.",
            "Every score compares with the reference, so it would mean another thing in each run.",
            "Give both recipes the same data.normalizer, and evaluate again.",
        )


def _check_judges(one: Side, other: Side) -> None:
    for name in one.judges.keys() & other.judges.keys():
        mine, theirs = one.judges[name], other.judges[name]
        if mine.name != theirs.name:
            raise UserError(
                f"The scores of {name} are by {mine.name} in {one.label}, and by {theirs.name} in {other.label}.",
                "Versions of a judge score the same text differently, so a difference could be that of the judge.",
                "Evaluate both runs with one version: `chexalign evaluate` scores again what another version scored.",
            )
        if mine.options != theirs.options:
            raise UserError(
                f"The judge {name} has other options in {one.label} than in {other.label}.",
                "With other options it scores the same text differently.",
                "Give it the same options in both recipes, or another name by `label`, and evaluate again.",
            )
