"""The recipes of public models: a plan accepts each of them on small trees of the right layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chexalign.cli import main
from chexalign.policy.hf import save_checkpoint
from chexalign.recipe.load import load_recipe
from tests import chexagent2, trees, vlms
from tests.unit.test_families import image_processor, tokenizer
from tests.unit.test_processor import checkpoint

RECIPES = ("models/medgemma_openi", "models/qwen2_5_vl_openi", "chexalign/chexagent2_mimic")
GEMMA_CHAT = (
    "{% for m in messages %}{% for c in m.content %}{% if c.type == 'image' %}<start> "
    "{% else %}{{ c.text }} {% endif %}{% endfor %}{% endfor %}"
)


def medgemma(folder: Path) -> Path:
    """A tiny Gemma 3 with the files of a downloaded one."""
    from transformers import Gemma3Processor, PreTrainedTokenizerFast

    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    names |= {"boi_token": "<start>", "eoi_token": "<end>", "image_token": "<image>"}
    words = PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend_tokenizer, **names)
    processor = Gemma3Processor(image_processor("gemma3"), words, chat_template=GEMMA_CHAT, image_seq_length=4)
    save_checkpoint(vlms.make("gemma3"), processor, folder)
    return folder


def chexagent_2(folder: Path) -> Path:
    """A tiny CheXagent-2 in the published layout, with a context as long as the paper's rows."""
    chexagent2.write(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"max_position_embeddings": 3072, "context_tokens": 3072}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """The model's folder and the collection's, for each recipe."""
    root = tmp_path_factory.mktemp("places")
    openi, mimic = trees.openi_tree(root / "openi"), trees.mimic_tree(root / "mimic")
    models = (medgemma(root / "medgemma"), checkpoint("qwen2_5_vl", root / "qwen"), chexagent_2(root / "chexagent2"))
    return dict(zip(RECIPES, zip(models, (openi, openi, mimic), strict=True), strict=True))


def plan(name: str, places: dict[str, tuple[Path, Path]], *more: str) -> int:
    model, root = places[name]
    settings = [f"policy.model={model}", f"data.root={root}", *more]
    return main.main(["plan", name, "--json", *(word for text in settings for word in ("--set", text))])


def rows(capsys: Any) -> dict[str, int]:
    return {row["stage"]: row["rows"] for row in json.loads(capsys.readouterr().out)}


@pytest.mark.parametrize("name", RECIPES)
def test_a_plan_accepts_the_recipe(name, places, capsys):
    few = [] if name == "chexalign/chexagent2_mimic" else ["data.split={sft: 4, prefer: 3, test: 3}"]
    assert plan(name, places, *few) == 0
    found = rows(capsys)
    assert found["candidates"] == 4 * found["prompts"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_plan_names_what_is_missing(name, places, tmp_path, capsys):
    model, root = places[name]
    assert plan(name, {name: (model, tmp_path)}) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert plan(name, {name: (tmp_path, root)}) == 2
    assert "policy.model is" in capsys.readouterr().err


def test_a_plan_refuses_a_model_that_brings_its_own_code(places, tmp_path, capsys):
    maira2 = {"model_type": "maira2", "auto_map": {"AutoModelForCausalLM": "modeling_maira2.Maira2"}}
    (tmp_path / "config.json").write_text(json.dumps(maira2))
    name = RECIPES[2]
    assert plan(name, {name: (tmp_path, places[name][1])}) == 2
    assert "policy.trust_remote_code: true" in capsys.readouterr().err


def test_a_plan_refuses_a_template_that_asks_questions(places, capsys):
    assert plan(RECIPES[2], places, "policy.template=multiple_choice@1") == 2
    assert "use a template for reports: " in capsys.readouterr().err


def test_a_plan_reads_a_table_by_the_names_of_its_columns(places, tmp_path, capsys):
    rows = [{"acc": r.pop("id"), **r} for r in trees.table_rows(tmp_path)]
    path = trees.write_table(tmp_path / "t.csv", rows)
    data = f"data={{source: table, root: {path}, license: ours, split: {{sft: 4, prefer: 2, test: 2}}}}"
    model = f"policy.model={places[RECIPES[1]][0]}"
    command = ["plan", RECIPES[1], "--set", model, "--set", data]
    assert main.main(command) == 2
    assert "data.columns.id=COLUMN" in capsys.readouterr().err
    assert main.main([*command, "--set", "data.columns.id=acc"]) == 0
    assert "8 studies" in capsys.readouterr().err


def test_a_plan_refuses_options_that_the_dataset_does_not_take(places, capsys):
    assert plan(RECIPES[1], places, "data.prior=true") == 2
    assert "data.prior is set, and data.source is openi." in capsys.readouterr().err


def test_the_paper_s_settings():
    recipe = load_recipe("chexalign/chexagent2_mimic")
    (arm,) = recipe.resolved_arms().values()
    assert (arm.train.algorithm, arm.train.beta, arm.train.learning_rate, arm.train.global_batch) == (
        "dpo",
        0.1,
        1e-6,
        64,
    )
    assert (arm.train.epochs, arm.train.warmup_ratio, arm.pairs.rule) == (1, 0.1, "best_worst")
    assert (recipe.sample.n, recipe.sample.temperature, recipe.sample.max_new_tokens) == (4, 1.0, 512)
    assert (recipe.policy.template, recipe.policy.max_images) == ("structured_findings@1", 2)
    assert set(recipe.policy.freeze) == {"vision", "projector"}
    assert recipe.sft is None


@pytest.mark.parametrize("name", RECIPES[:2])
def test_small_models_are_trained_by_adapters_in_bf16(name):
    recipe = load_recipe(name)
    assert recipe.policy.lora is not None
    assert recipe.compute is not None
    assert recipe.compute.precision == "bf16"
    assert sum(recipe.data.split.values()) <= 2219  # what OpenI has where DICOM headers tell the views
