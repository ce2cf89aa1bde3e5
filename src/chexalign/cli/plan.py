"""`chexalign plan`: what a recipe would do, row by row, and whether it can, before anything is spent."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from chexalign.cli.options import add_json, add_recipe, print_rows
from chexalign.errors import UserError
from chexalign.registry import registry

if TYPE_CHECKING:
    from chexalign.recipe import JudgeSpec, Recipe

HELP = "Checks a recipe, its data and every name in it, and shows its stages with rows and rough cost."
EXAMPLE = "chexalign plan demo --set sample.n=8"

BASIS = (
    "seconds: one CPU core, a rough guess from trial runs of a policy of that size, reports of 30 words; "
    "two workers need about half. results/demo.json has the measured time of the built-in example."
)
_SECONDS = {  # per row, see BASIS
    "draw": 0.02,
    "vision": 0.0015,
    "language": 0.012,
    "caption": 0.008,
    "sft": 0.015,
    "sample": 0.028,
    "greedy": 0.02,
    "train": 0.06,
}
_JUDGE_SECONDS = {"chexpert": 0.0003, "bertscore": 0.0125, "rouge_l": 0.0001, "bleu_4": 0.0002}


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a run: how many rows it makes or reads, and its rough cost where there is a basis for one."""

    stage: str
    rows: int
    unit: str
    how: str
    seconds: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RECIPE, --set, --json."""
    add_recipe(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one row per stage; raises the UserError that the run would have met."""
    from chexalign.recipe_load import load_recipe

    recipe = load_recipe(args.recipe, args.set)
    check_names(recipe)
    available = check_data(recipe)
    rows = list(stages(recipe))
    print_rows([dataclasses.asdict(stage) for stage in rows], as_json=args.json)
    known = sum(stage.seconds or 0 for stage in rows)
    unknown = [stage.stage for stage in rows if stage.seconds is None]
    print(f"\ndata: {available}\ntotal: about {known / 60:.0f} min of one core", file=sys.stderr)
    if unknown:
        print(f"not counted, they depend on your model and machine: {', '.join(unknown)}", file=sys.stderr)
    print(BASIS, file=sys.stderr)
    return 0


def check_names(recipe: Recipe) -> None:
    """Loads every dataset, judge, pair rule and loss that the recipe names.

    Raises: UserError for a name that is unknown or cannot be loaded, options that a judge does not take, a parameter
    that a plugin's loss needs, or a policy folder that is not there.
    """
    from chexalign.judges.stage import make_judge

    registry("datasets").get(recipe.data.source)
    for arm in recipe.resolved_arms().values():
        make_judge(arm.judge)
        registry("pair_rules").get(arm.pairs.rule)
        loss = registry("losses").get(arm.train.algorithm)
        given = {name.rstrip("_") for name in arm.train.parameters()}
        lacking = [name for name in getattr(loss, "required", ()) if name.rstrip("_") not in given]
        if lacking:
            raise UserError(
                f"train.{lacking[0]} is missing",
                f"{arm.train.algorithm} needs {' and '.join(loss.required)}, and a scientific choice has no default",
                f"add `{lacking[0]}:` to the block train",
            )
    for metric in recipe.evaluate.metrics:
        make_judge(metric)
    if recipe.policy.model != "tiny" and not (Path(recipe.policy.model) / "config.json").is_file():
        raise UserError(
            f"policy.model is {recipe.policy.model!r}",
            "it is neither `tiny` nor a folder with a config.json in Hugging Face format",
            "give the folder of a downloaded model; nothing is downloaded at run time",
        )


def check_data(recipe: Recipe) -> str:
    """One line on the studies that are there and those that are left out, with reasons.

    Raises: UserError when the collection cannot be read or has fewer studies than `data.split` asks for.
    """
    from chexalign.workflow import make_dataset

    dataset = make_dataset(recipe)
    items, dropped = dataset.items()
    reasons = ", ".join(f"{reason} {count}" for reason, count in dropped.items())
    return f"{len(items)} studies" + (f"; left out: {reasons}" if reasons else "")


def stages(recipe: Recipe) -> Iterator[Stage]:
    """The stages of a run in order."""
    tiny = recipe.policy.model == "tiny"

    def cost(kind: str, rows: float) -> float | None:
        return round(_SECONDS[kind] * rows, 1) if tiny else None

    split, n, arms = recipe.data.split, recipe.sample.n, recipe.resolved_arms()
    studies, sft, prompts, tested = (
        sum(split.values()),
        split.get("sft", 0),
        split[recipe.sample.split],
        split[recipe.evaluate.split],
    )
    yield Stage("studies", studies, "studies", "data.split", cost("draw", studies * len(recipe.data.views)))
    if recipe.policy.tiny is not None:
        yield from _tiny_stages(recipe, sft)
    if recipe.sft is not None:
        examples = sft * recipe.sft.epochs
        yield Stage("sft", examples, "examples", f"{sft} studies x {recipe.sft.epochs}", cost("sft", examples))
    yield Stage("prompts", prompts, "prompts", f"split {recipe.sample.split}", 0.0)
    yield Stage("candidates", n * prompts, "candidates", f"{n} x {prompts} prompts", cost("sample", n * prompts))
    yield from _arm_stages(recipe, n * prompts, prompts)
    reports = tested * (1 + len(arms))
    how = f"{tested} studies of {recipe.evaluate.split} x {1 + len(arms)} policies"
    yield Stage("predictions", reports, "reports", how, cost("greedy", reports))
    seconds = [_judge_seconds(metric, reports) for metric in recipe.evaluate.metrics]
    how = f"{len(seconds)} metrics x {reports} reports, {recipe.evaluate.bootstrap} resamples"
    total = None if None in seconds else round(sum(filter(None, seconds)), 1)
    yield Stage("estimates", len(seconds) * reports, "judgements", how, total)


def _tiny_stages(recipe: Recipe, sft: int) -> Iterator[Stage]:
    tiny = recipe.policy.tiny
    assert tiny is not None
    images = sft * (1 + tiny.variants)
    work = {
        "vision": (images, tiny.vision_epochs, _SECONDS["draw"] * sft * tiny.variants),
        "language": (sft, tiny.language_epochs, 0.0),
        "caption": (sft, tiny.caption_epochs, 0.0),
    }
    for name, (each, epochs, drawing) in work.items():
        seconds = round(drawing + _SECONDS[name] * each * epochs, 1)
        yield Stage(f"tiny {name}", each * epochs, "examples", f"{each} x {epochs}", seconds)


def _arm_stages(recipe: Recipe, candidates: int, prompts: int) -> Iterator[Stage]:
    from chexalign.recipe import folder_name

    arms = recipe.resolved_arms()
    for folder, judge in {folder_name(arm.judge): arm.judge for arm in arms.values()}.items():
        yield Stage(
            f"scores/{folder}", candidates, "judgements", "one per candidate", _judge_seconds(judge, candidates)
        )
    for name, arm in arms.items():
        yield Stage(f"pairs/{name}", prompts, "pairs", f"at most, rule {arm.pairs.rule}", 0.0)
        pairs = round(prompts * arm.train.epochs)
        seconds = round(_SECONDS["train"] * pairs, 1) if recipe.policy.model == "tiny" else None
        yield Stage(f"policy/{name}", pairs, "pairs", f"at most, epochs: {arm.train.epochs:g}", seconds)


def _judge_seconds(judge: JudgeSpec, reports: int) -> float | None:
    if judge.of is not None:
        return _judge_seconds(judge.of, reports)
    return round(_JUDGE_SECONDS[judge.name] * reports, 1) if judge.name in _JUDGE_SECONDS else None
