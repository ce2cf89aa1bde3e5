"""`chexalign plan`: what a recipe would do, row by row, and whether it can, before anything is spent."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from chexalign.cli.checks import check_data, check_names, seen_in_training
from chexalign.cli.hardware import check_hardware
from chexalign.cli.look import Look, look_at
from chexalign.cli.options import add_json, add_recipe, print_rows
from chexalign.cli.plan_mining import Mining, mining_of, mining_rows, mining_warnings
from chexalign.cli.plan_questions import Listed, answer_rows, list_questions, question_rows

if TYPE_CHECKING:
    from chexalign.recipe import JudgeSpec, Recipe, SFTSpec, TrainSpec

HELP = "Checks a recipe, its data and every name in it, and shows its stages with rows and rough cost."
EXAMPLE = "chexalign plan demo --set sample.n=8"

JUDGES_BASIS = "seconds of judges: one CPU core, as in results/demo.json (reports of 30 words)"
BASIS = (
    "seconds: one CPU core, rounded from the built-in example as measured in results/demo.json (reports of 30 words, "
    "a policy of 2.3 million parameters); two workers or threads need a little more than half."
)
_SECONDS = {  # per row of the stage, see BASIS
    "draw": 0.009,  # studies, pretrain/phantoms: an image
    "vision": 0.004,  # pretrain/tower: an image in an epoch
    "language": 0.008,  # pretrain/language: a text in an epoch
    "caption": 0.007,  # pretrain/caption: an example in an epoch
    "sft": 0.011,  # policy/sft: an example in an epoch
    "sample": 0.01,  # candidates: a candidate
    "ref_logps": 0.008,  # ref_logps: a candidate
    "train": 0.02,  # policy/ARM: a pair in an epoch
    "greedy": 0.01,  # predictions: a report
}
_JUDGE_SECONDS = {  # scores, metrics: a report
    "chexpert": 0.0002,
    "bertscore": 0.017,
    "rouge_l": 0.0001,
    "bleu_4": 0.0002,
}


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
    from chexalign.recipe.load import load_recipe

    recipe = load_recipe(args.recipe, args.set)
    check_names(recipe)
    check_hardware(recipe)
    items, available = check_data(recipe)
    found, listed = look_at(recipe, items), list_questions(recipe)
    mining = mining_of(recipe, listed)
    rows = list(stages(recipe, found, listed, mining))
    print_rows([dataclasses.asdict(stage) for stage in rows], as_json=args.json)
    known = sum(stage.seconds or 0 for stage in rows)
    unknown = [stage.stage for stage in rows if stage.seconds is None]
    print(f"\ndata: {available}", *found.lines, sep="\n", file=sys.stderr)
    print(f"total: about {known / 60:,.0f} min", file=sys.stderr)
    if unknown:
        print(f"not counted, they depend on your model and machine: {', '.join(unknown)}", file=sys.stderr)
    print(BASIS if recipe.policy.tiny is not None else JUDGES_BASIS, file=sys.stderr)
    for warning in (seen_in_training(recipe), *(mining_warnings(mining) if mining else ())):
        if warning:
            print(f"warning: {warning}", file=sys.stderr)
    return 0


def stages(
    recipe: Recipe, found: Look, listed: Mapping[str, Listed] | None = None, mining: Mining | None = None
) -> Iterator[Stage]:
    """The stages of a run, named after their folders, each after those that it reads.

    `found` has what was seen of the model, `listed` what the collections of questions hold, if the recipe names some,
    and `mining` what is mined of them.
    """
    split, listed = {name: found.rows(recipe, name) for name in recipe.data.split}, listed or {}
    images = sum(split.values()) * len(recipe.data.views)
    drawn = images if recipe.data.images is None and recipe.data.root is None else 0
    yield Stage("studies", sum(split.values()), "studies", "data.split", _seconds("draw", drawn))
    yield from _unmeasured(question_rows(recipe, listed))
    if recipe.policy.tiny is not None:
        yield from _pretraining(recipe)
    if recipe.sft is not None:
        yield _sft(recipe, found, split.get("sft", 0), listed)
    if recipe.resolved_arms():
        yield from _candidates(recipe, found, split[recipe.sample.split])
    if mining is not None:
        yield from _unmeasured(mining_rows(mining))
    yield from _arm_stages(recipe, split.get(recipe.sample.split, 0), found, mining)
    yield from _evaluation(recipe, found)
    yield from _unmeasured(answer_rows(recipe, listed))


def _unmeasured(rows: Iterable[tuple[str, int, str, str]]) -> Iterator[Stage]:
    return (Stage(*row, seconds=None) for row in rows)


def _pretraining(recipe: Recipe) -> Iterator[Stage]:
    """What makes the tiny policy before SFT: codes of the splits sft and prefer, reports of sft."""
    tiny, sft = recipe.policy.tiny, recipe.data.split.get("sft", 0)
    assert tiny is not None
    coded = sft + recipe.data.split.get("prefer", 0)
    phantoms = tiny.variants * coded if recipe.data.images is None else 0
    if phantoms:
        how = f"{tiny.variants} more phantoms x {coded} studies"
        yield Stage("pretrain/phantoms", phantoms, "images", how, _seconds("draw", phantoms))
    captions = coded + phantoms + round(tiny.report_share * sft)
    work = {
        "tower": ("vision", coded + phantoms, tiny.vision_epochs),
        "language": ("language", sft, tiny.language_epochs),
        "caption": ("caption", captions, tiny.caption_epochs),
        **({"presence": ("caption", tiny.presence, 1)} if tiny.presence else {}),
    }
    for part, (kind, each, epochs) in work.items():
        how = f"{each} x {epochs}"
        yield Stage(f"pretrain/{part}", each * epochs, "examples", how, _seconds(kind, each * epochs))


def _sft(recipe: Recipe, found: Look, studies: int, listed: Mapping[str, Listed]) -> Stage:
    """Reports and questions are learned from together."""
    assert recipe.sft is not None
    collections = recipe.questions.collections if recipe.questions else []
    questions = sum(listed[c.source].learned(c) for c in collections if c.source in listed)
    examples, limit = _limited((studies + questions) * recipe.sft.epochs, recipe.sft)
    how = f"({studies} studies, at most {questions} questions)" if questions else f"{studies} studies"
    tiny = recipe.policy.tiny is not None
    seconds = _seconds("sft", examples) if tiny else found.train_seconds(recipe, examples, backward=True)
    return Stage("policy/sft", examples, "examples", f"{how} x {recipe.sft.epochs}{limit}", seconds)


def _candidates(recipe: Recipe, found: Look, prompts: int) -> Iterator[Stage]:
    """What is drawn, and what the judges of all arms are asked about it."""
    from chexalign.recipe import folder_name

    yield Stage("prompts", prompts, "prompts", f"split {recipe.sample.split}", 0.0)
    n, candidates = recipe.sample.n, recipe.sample.n * prompts
    tiny = recipe.policy.tiny is not None
    seconds = _seconds("sample", candidates) if tiny else found.sample_seconds(recipe, prompts)
    yield Stage("candidates", candidates, "candidates", f"{n} x {prompts} prompts", seconds)
    judges = {folder_name(arm.judge): arm.judge for arm in recipe.resolved_arms().values()}
    for folder, judge in judges.items():
        yield Stage(
            f"scores/{folder}", candidates, "judgements", "one per candidate", _judge_seconds(judge, candidates)
        )


def _arm_stages(recipe: Recipe, prompts: int, found: Look, mining: Mining | None) -> Iterator[Stage]:
    """Pairs of all arms, those of candidates first, and what is trained on them."""
    from chexalign.recipe.mine import SFT_AGAIN

    arms, mined = recipe.resolved_arms(), recipe.mined_arms() if mining else {}
    size = {**dict.fromkeys(arms, prompts), **dict.fromkeys(mined, mining.budget if mining else 0)}
    for name, arm in arms.items():
        yield Stage(f"pairs/{name}", prompts, "pairs", f"at most, rule {arm.pairs.rule}", 0.0)
    for name, one in mined.items():
        yield Stage(f"pairs/{name}", size[name], "pairs", f"at most, of the set {one.select}", 0.0)
    yield from _ref_logps(recipe, prompts, found, mining)
    for name in (*arms, *mined):
        train = recipe.learners()[name].train
        kept = size[name] - round(size[name] * (train.hold_out or 0))
        rows, limit = _limited(round(kept * train.epochs), train)
        apart = f", {size[name] - kept} held out" if kept < size[name] else ""
        how, alone = f"at most, epochs: {train.epochs:g}{limit}{apart}", train.algorithm == SFT_AGAIN
        texts = rows if alone else 2 * rows
        tiny = recipe.policy.tiny is not None
        seconds = (
            _seconds("sft" if alone else "train", rows) if tiny else found.train_seconds(recipe, texts, backward=True)
        )
        yield Stage(f"policy/{name}", rows, "right answers" if alone else "pairs", how, seconds)


def _ref_logps(recipe: Recipe, prompts: int, found: Look, mining: Mining | None) -> Iterator[Stage]:
    """Each text that some arm compares with its reference log-prob, once."""
    from chexalign.recipe.mine import SFT_AGAIN

    arms = recipe.resolved_arms()
    used = min(recipe.sample.n, 2 * len(arms)) * prompts
    told = ["candidates that are in a pair"] if arms else []
    if mining is not None:
        mined = {name: arm for name, arm in recipe.mined_arms().items() if arm.train.algorithm != SFT_AGAIN}
        used += 2 * mining.wrong_answers(mined)
        told += ["right and wrong answers"] if mined else []
    if not told:
        return
    seconds = _seconds("ref_logps", used) if recipe.policy.tiny else found.train_seconds(recipe, used, backward=False)
    yield Stage("ref_logps", used, "texts" if mining else "candidates", f"at most, {' and '.join(told)}", seconds)


def _limited(rows: int, spec: SFTSpec | TrainSpec) -> tuple[int, str]:
    """The rows of a training whose updates may be limited, and the limit in words."""
    most = rows if spec.max_steps is None else spec.max_steps * spec.global_batch
    return (most, f", updates: {spec.max_steps}") if most < rows else (rows, "")


def _evaluation(recipe: Recipe, found: Look) -> Iterator[Stage]:
    tiny = recipe.policy.tiny is not None
    spec, arms = recipe.evaluate, len(recipe.learners())
    tested = found.rows(recipe, spec.split)
    reports = tested * (2 + arms)
    how = f"{tested} studies of {spec.split} x (sft, its shuffled control, {arms} arm{'s'[: arms != 1]})"
    seconds = _seconds("greedy", reports) if tiny else found.report_seconds(recipe, reports)
    yield Stage("predictions", reports, "reports", how, seconds)
    each = [_judge_seconds(metric, reports) for metric in recipe.measured()]
    how = f"{len(each)} metrics x {reports} reports, {spec.bootstrap} resamples"
    total = None if None in each else round(sum(filter(None, each)), 1)
    yield Stage("metrics", len(each) * reports, "judgements", how, total)


def _seconds(kind: str, rows: float) -> float:
    return round(_SECONDS[kind] * rows, 1)


def _judge_seconds(judge: JudgeSpec, reports: int) -> float | None:
    if judge.of is not None:
        inside = judge.of if isinstance(judge.of, list) else [judge.of]
        each = [_judge_seconds(one, reports) for one in inside]
        return None if None in each else sum(filter(None, each))
    return round(_JUDGE_SECONDS[judge.name] * reports, 1) if judge.name in _JUDGE_SECONDS else None
