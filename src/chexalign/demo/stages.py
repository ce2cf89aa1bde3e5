"""The stages that make the tiny policy before SFT."""

from __future__ import annotations

from pathlib import Path

from chexalign.demo.presence import PresenceJob
from chexalign.demo.pretrain import CaptionJob, LanguageJob
from chexalign.demo.tower import PhantomsWorker, TowerJob, phantom_table
from chexalign.recipe import Recipe
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest

_STUDIES_PER_PART = 100


def pretrain(recipe: Recipe, run: RunFolder, studies: Manifest) -> tuple[Path, Manifest]:
    """The folder of the pretrained tiny policy and its manifest, after doing what was missing of it."""
    tiny, seed, threads = recipe.policy.tiny, recipe.seed, recipe.threads
    assert tiny is not None
    variants = tiny.variants if recipe.data.images is None else 0
    n_studies = recipe.data.split["sft"] + recipe.data.split.get("prefer", 0)
    inputs = {"studies": studies.content}
    phantoms = run_parts(
        phantom_table(run),
        PhantomsWorker(run, variants, _STUDIES_PER_PART),
        key=StageKey("phantoms", inputs, {"variants": variants}, 0),
        n_parts=-(-n_studies // _STUDIES_PER_PART),
        workers=recipe.workers,
        label="more phantoms",
    )
    tower_inputs = inputs | {"phantoms": phantoms.content}
    tower_config = {"epochs": tiny.vision_epochs, "threads": threads}
    tower = TowerJob(run, tiny.vision_epochs, threads, StageKey("tower", tower_inputs, tower_config, seed))
    tower.run()
    language_config = {"epochs": tiny.language_epochs, "threads": threads}
    language = LanguageJob(run, tiny.language_epochs, threads, StageKey("language", inputs, language_config, seed))
    language.run()
    made = {part: _manifest(run.pretrained(part)).content for part in ("tower", "language")}
    weight = recipe.sft.finding_weight if recipe.sft else 1.0
    caption_config = {
        "epochs": tiny.caption_epochs,
        "report_share": tiny.report_share,
        "finding_weight": weight,
        "threads": threads,
    }
    key = StageKey("caption", inputs | made | {"phantoms": phantoms.content}, caption_config, seed)
    CaptionJob(run, tiny.caption_epochs, tiny.report_share, weight, threads, key).run()
    last = run.pretrained("caption")
    if tiny.presence:
        inputs = {"caption": _manifest(last).content}
        config = {"examples": tiny.presence, "threads": threads}
        PresenceJob(run, tiny.presence, threads, StageKey("presence", inputs, config, seed)).run()
        last = run.pretrained("presence")
    return last, _manifest(last)


def _manifest(folder: Path) -> Manifest:
    manifest = Manifest.load(folder)
    assert manifest is not None
    return manifest
