"""The recipes of CheXPO: the published settings, and that the quick one walks the one that is measured."""

from __future__ import annotations

import re

import pytest

from chexalign.cli.checks import check_mining
from chexalign.errors import UserError
from chexalign.mine.vectors.variants import VARIANTS
from chexalign.recipe.load import find_recipe, load_recipe
from chexalign.recipe.mine import SFT_AGAIN
from chexalign.registry import registry

PUBLISHED = "chexpo/published"


def test_the_published_settings():
    recipe = load_recipe(PUBLISHED)
    lora = recipe.policy.lora
    assert (lora.r, lora.alpha, lora.dropout, lora.quantize) == (128, 256, 0.0, None)
    assert set(lora.targets) == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head"}
    assert "vision" in recipe.policy.freeze
    assert recipe.policy.max_images == 2  # questions that compare
    sft = recipe.sft
    assert (sft.learning_rate, sft.epochs, sft.global_batch, sft.weight_decay) == (8e-5, 2, 128, 0.01)
    assert (recipe.mine.share, recipe.mine.max_new_tokens) == (0.05, 128)
    assert {arm.train.beta for arm in recipe.mined_arms().values() if arm.select == "mined"} >= {0.07, 0.1, 0.15}
    for name, arm in recipe.mined_arms().items():
        train = arm.train
        assert train.algorithm in ("dpo", SFT_AGAIN), name
        assert (train.learning_rate, train.epochs, train.global_batch, train.warmup_ratio) == (4e-6, 1, 256, 0.1)
    assert (recipe.compute.precision, recipe.compute.gradient_checkpointing) == ("bf16", True)


def test_the_published_collections_are_sources_that_take_their_options():
    collections = load_recipe(PUBLISHED).questions.collections
    assert [c.source for c in collections] == ["mimic-vqa", "diff-vqa", "ms-cxr", "vindr"]
    for collection in collections:
        assert collection.sft > 0
        registry("questions").get(collection.source)(
            root=collection.root, images=collection.images, **collection.options
        )


def test_each_collection_can_be_the_one_that_is_mined():
    for source in ("diff-vqa", "ms-cxr", "vindr"):
        assert load_recipe(PUBLISHED, [f"mine.collection={source}", "run=other"]).mine.collection == source


def test_an_encoder_that_is_not_there_is_told_before_anything_is_spent():
    with pytest.raises(UserError, match=r"mine\.encoders\.text_folder"):
        check_mining(load_recipe(PUBLISHED).mine)
    check_mining(load_recipe(PUBLISHED, ["mine.encoders={}"]).mine)


@pytest.mark.parametrize("name", ["chexpo/openi", "chexpo/quick", PUBLISHED])
def test_every_recipe_has_the_baselines_of_the_mined_set(name):
    mine = load_recipe(name).mine
    arms = {(arm.select, arm.train.algorithm) for arm in mine.arms.values()}
    assert {(select, "dpo") for select in ("mined", "random", "confidence", "similarity")} <= arms
    assert ("mined", SFT_AGAIN) in arms
    assert mine.likeness in VARIANTS
    assert mine.baselines() == ["dpo_random"]


def test_the_quick_recipe_walks_the_measured_one_in_small():
    quick, measured = load_recipe("chexpo/quick"), load_recipe("chexpo/openi")
    assert quick.mine.arms.keys() == measured.mine.arms.keys()
    for key in ("collection", "confidence", "failures", "likeness", "quota", "share", "counterfactual"):
        assert getattr(quick.mine, key) == getattr(measured.mine, key)


def test_what_the_recipe_cannot_say_is_said():
    text = re.sub(r"\s*\n#\s*", " ", find_recipe(PUBLISHED).read_text())
    for said in ("mining works on one collection", "was not run here", "AdamW has other betas", "is not told"):
        assert said in text
