"""The model card of an arm: the card that its training wrote, with sources and the evaluation filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chexalign import artifact
from chexalign.cards.facts import RECIPE, how, judge_lines, left_out, license_lines
from chexalign.cards.mined import learned_from, mined_stages, question_licenses
from chexalign.cards.sources import Sources, plain, section, table
from chexalign.errors import UserError
from chexalign.evaluate.numbers import Numbers
from chexalign.evaluate.stage import read_numbers
from chexalign.pairs.stage import table_of_arm
from chexalign.present.metrics import in_order, metric_info
from chexalign.present.numbers import interval_text, value_text
from chexalign.recipe import Recipe, folder_name
from chexalign.run_folder import SFT, RunFolder
from chexalign.store import MANIFEST, Manifest
from chexalign.types import Estimate

_EVALUATION = "## Evaluation\n"
_ESTIMATES = "estimates.json"
_GAIN = "vqa.all.relative_gain"


def model_card(run: RunFolder, recipe: Recipe, arm: str) -> str:
    """The card as Markdown; whatever people added to that of the checkpoint is kept. It holds no report text.

    Raises: UserError when the arm is not trained, its checkpoint has no card, or the run is not evaluated.
    """
    folder, numbers, sources = run.policy(arm), read_numbers(run), Sources()
    manifest, path = Manifest.load(folder), folder / artifact.CARD
    if manifest is None or not path.is_file():
        raise UserError(
            f"The arm {arm} has no finished checkpoint with a card in {folder}.",
            "Training writes README.md and then manifest.json there, and the model card is made from both.",
            "Train the arm with `chexalign train`, or give another one by --arm.",
        )
    _check_same(run, arm, manifest)
    written = traced(path.read_text(encoding="utf-8"), arm, manifest, sources)
    before, found, after = written.partition(_EVALUATION)
    rest = re.search(r"^## ", after, re.MULTILINE) if found else None
    kept = after[rest.start() :] if rest else ""
    judges = recipe.measured()
    tables = [run.metric(folder_name(judge), arm) for judge in judges]
    mined = recipe.mine if arm in recipe.mined_arms() else None
    if mined is not None:
        stages = mined_stages(run, mined, arm)
    else:
        rows = table_of_arm(run, arm, recipe.resolved_arms()[arm])
        stages = [run.studies.folder, run.prompts.folder, run.candidates.folder, rows.folder]
    stages += [folder, run.predictions(arm).folder]
    return "\n".join(
        [
            before.rstrip(),
            "",
            *(learned_from(run, recipe, arm, sources) if mined else []),
            *section("Evaluation", _evaluation(numbers, arm, recipe, sources)),
            *section("Judges", judge_lines(run, judges, tables, sources)),
            *how(recipe, sources, folder),
            *section("Licenses of the studies", license_lines("studies", run.studies, sources)),
            *(question_licenses(run, mined, sources) if mined else []),
            *left_out(run.root, stages, sources),
            kept,
            *sources.lines(),
            "",
        ]
    )


def _check_same(run: RunFolder, arm: str, checkpoint: Manifest) -> None:
    """Raises: UserError when the evaluated reports were written by another checkpoint."""
    predictions = Manifest.load(run.predictions(arm).folder)
    writer = predictions.inputs.get("policy") if predictions is not None else None
    if writer is not None and writer != checkpoint.content:
        raise UserError(
            f"The evaluated reports of {arm} were written by another checkpoint than the one in {run.policy(arm)}.",
            "The arm was trained again after it was evaluated, so its numbers are not those of this model.",
            "Run `chexalign evaluate` with the same recipe, and then this command again.",
        )


def traced(text: str, arm: str, manifest: Manifest, sources: Sources) -> str:
    """The card of a training with a footnote behind each line whose content is a file's; other lines are kept."""
    file = f"policy/{arm}/{MANIFEST}"
    rows = f"rows; updates are the last step of policy/{arm}/{artifact.LOG}"
    keys: Mapping[str, tuple[str, str]] = {
        "| base |": (file, "inputs"),
        "| algorithm |": (file, "config.blocks[0].algorithm"),
        "| parameters |": (file, "config.blocks[0]"),
        "| adapters |": (RECIPE, "policy.lora"),
        "| frozen |": (RECIPE, "policy.freeze"),
        f"| rows | {manifest.rows} ": (file, rows),  # not where a person wrote another number
        "| dropped |": (file, "dropped"),
        "| recipe |": (RECIPE, "the whole file, less what changes no result"),
        f"| software | chexalign {manifest.code_version} ": (file, "code_version"),
        "- Shared prompts:": (file, "extra.checks.prefix_sharing"),
        "- Held-out rows": (file, "extra.checks.held_out"),
        "- Warning": (file, "extra.checks.warnings"),
        "- License of the studies:": ("studies/part-*.parquet", "column license"),
        "- License of the questions:": ("questions/*/part-*.parquet", "column license"),
    }
    lines = []
    for line in text.splitlines():
        where = next((found for start, found in keys.items() if line.startswith(start)), None)
        if where is None:
            lines.append(line)
        elif line.endswith(" |"):
            lines.append(f"{line[:-2]}{sources.note(*where)} |")
        else:
            lines.append(line + sources.note(*where))
    return "\n".join(lines) + "\n"


def _evaluation(numbers: Numbers, arm: str, recipe: Recipe, sources: Sources) -> Iterator[str]:
    split = recipe.evaluate.split
    levels = sorted({e.level for e in numbers.estimates if e.low is not None})
    intervals = " and ".join(f"{level:.0%}" for level in levels) or "no"
    yield (
        f"On the split {split}, next to `{SFT}`, with {intervals} intervals and paired differences. An interval that "
        "holds 0 leaves open which policy is better."
    )
    yield ""
    yield from table(["metric", arm, SFT, "difference", "n / clusters"], _rows(numbers.estimates, arm, split, sources))
    gains = [(at, e) for at, e in enumerate(numbers.estimates) if e.metric == _GAIN and e.policy == arm]
    if arm in [one.policy for one in numbers.length] + [one.policy for one in numbers.tax] or gains:
        yield ""
    for at, gain in gains:
        note, over = sources.note(_ESTIMATES, f"estimates[{at}]"), f"that of `{gain.baseline}`"
        yield f"- Accuracy on all questions, gained over {over} and relative to it: {_cell(gain)}{note}."
    for at, length in enumerate(numbers.length):
        if length.policy == arm:
            yield f"- Length, by `{length.judge}`: {length.verdict}{sources.note(_ESTIMATES, f'length[{at}]')}."
    for at, tax in enumerate(numbers.tax):
        if tax.policy == arm:
            note = sources.note(_ESTIMATES, f"tax[{at}]")
            yield f"- Alignment tax, `{tax.metric}`: {tax.verdict} at a bound of {tax.bound}{note}."


def _rows(estimates: Sequence[Estimate], arm: str, split: str, sources: Sources) -> Iterator[list[str]]:
    """One row per metric of the report's main table, per task and per type of question, in their order."""
    at = {(e.metric, e.policy, e.baseline): i for i, e in enumerate(estimates) if _shown(e, split)}
    metrics = dict.fromkeys(e.metric for e in estimates if _shown(e, split) and e.policy == arm)
    tasks = [m for m in metrics if re.fullmatch(r"task\.\w+\.accuracy|vqa\..+", m)]  # whole tasks, not their parts
    for metric in dict.fromkeys([*in_order(metrics), *tasks]):
        places = [at.get(key) for key in ((metric, arm, None), (metric, SFT, None), (metric, arm, SFT))]
        mine = estimates[places[0]] if places[0] is not None else None
        if mine is None:
            continue
        note = sources.note(_ESTIMATES, ", ".join(f"estimates[{place}]" for place in places if place is not None))
        cells = [_cell(estimates[place] if place is not None else None) for place in places]
        yield [plain(metric_info(metric).label) + note, *cells, f"{mine.n:,} / {mine.n_clusters:,}"]


def _shown(estimate: Estimate, split: str) -> bool:
    return estimate.split == split or estimate.metric.startswith(("task.", "vqa."))


def _cell(estimate: Any) -> str:
    if estimate is None:
        return "–"
    decimals = metric_info(estimate.metric).decimals
    return plain(f"{value_text(estimate, decimals)} {interval_text(estimate, decimals)}")
