"""What the card of an arm tells of mined questions: what it learned from, how that was found, and wrong answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chexalign import atomic
from chexalign.cards.facts import RECIPE, license_lines
from chexalign.cards.sources import Sources, plain, section
from chexalign.recipe import MineSpec, Recipe
from chexalign.recipe.mine import SFT_AGAIN
from chexalign.run_folder import RunFolder
from chexalign.store import MANIFEST, Manifest

SETS = {
    "mined": "questions that the SFT policy fails, taken as {failures}, and questions like them",
    "confidence": "questions that the SFT policy fails, taken as {failures}",
    "similarity": "questions drawn at random among those that were asked, and questions like them",
    "random": "a draw among the questions that SFT learned from",
}


def mined_stages(run: RunFolder, mine: MineSpec, arm: str) -> list[Path]:
    """The folders of the stages that a mined arm's pairs rest on, and theirs."""
    select = mine.arms[arm].select
    tables = (run.questions(mine.collection), run.mine_answers, run.mined(select), run.counterfactuals, run.pairs(arm))
    return [run.studies.folder, *(table.folder for table in tables)]


def learned_from(run: RunFolder, recipe: Recipe, arm: str, sources: Sources) -> list[str]:
    """The section on what a mined arm learned from."""
    assert recipe.mine is not None
    return section("What it learned from", _learned_from(run, recipe.mine, arm, sources))


def question_licenses(run: RunFolder, mine: MineSpec, sources: Sources) -> list[str]:
    """The section on the licenses of the questions."""
    table = run.questions(mine.collection)
    return section("Licenses of the questions", license_lines(f"questions/{mine.collection}", table, sources))


def _learned_from(run: RunFolder, mine: MineSpec, arm: str, sources: Sources) -> Iterator[str]:
    select, where = mine.arms[arm].select, f"mine.arms.{arm}"
    failures = f"`{mine.failures}`"
    chosen = f"`{select}`{sources.note(RECIPE, f'{where}.select')}, {SETS[select].format(failures=failures)}"
    yield f"- Set: {chosen}; the collection is `{mine.collection}`{sources.note(RECIPE, 'mine.collection')}."
    if mine.arms[arm].train.algorithm == SFT_AGAIN:
        note = sources.note(RECIPE, f"{where}.train.algorithm")
        yield f"- Only the right answers were learned{note}, as in SFT; the wrong ones below were not."
    if run.mine_found.is_file():
        yield from _found(atomic.read_json(run.mine_found), select, sources)
    yield from _pairs(run, arm, sources)
    if mine.counterfactual.endpoint is not None:
        note = sources.note(RECIPE, "mine.counterfactual.endpoint.model")
        yield f"- Edits by a language model: `{plain(mine.counterfactual.endpoint.model)}`{note}."
    if (made := Manifest.load(run.counterfactuals.folder)) is not None and "rejected" in made.extra:
        note = sources.note(f"mine/counterfactuals/{MANIFEST}", "extra.proposals, extra.rejected")
        looked = f"{made.extra['proposals']:,} proposals were looked at for all sets"
        yield f"- Verified: {looked}, rejected {_counts(made.extra['rejected'])}{note}."


def _found(found: Mapping[str, Any], select: str, sources: Sources) -> Iterator[str]:
    counts = found["counts"]
    gallery, asked, failed = (sum(counts[name].values()) for name in ("gallery", "asked", "failed"))
    note = sources.note("mine/found.json", "counts.gallery, asked, failed")
    yield (
        f"- Found among: {gallery:,} questions that SFT learned from; the SFT policy was asked {asked:,} of them and "
        f"failed {failed:,}{note}."
    )
    quotas = found["sets"].get(select, {})
    note = sources.note("mine/found.json", f"sets.{select}")
    short = f"; there were too few of: {_counts(quotas['short'])}" if quotas.get("short") else ""
    yield f"- Taken: {_counts(quotas.get('given', {}))}{short}{note}."


def _pairs(run: RunFolder, arm: str, sources: Sources) -> Iterator[str]:
    if Manifest.load(run.pairs(arm).folder) is None:
        return
    audit = run.pairs(arm).info(0).extra.get("audit", {})
    told = {
        "kinds": "Pairs by kind of question",
        "origins": "Wrong answers by origin",
        "edits": "Wrong answers by edit",
    }
    for name, words in told.items():
        if name in audit:
            note = sources.note(f"pairs/{arm}/part-00000.json", f"extra.audit.{name}")
            yield f"- {words}: {_counts(audit[name])}{note}."


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{plain(name)} {n:,}" for name, n in counts.items()) or "none"
