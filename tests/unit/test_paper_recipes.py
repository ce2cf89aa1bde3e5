"""The recipes of CheXalign's Table 7: its best rows, its grids, and that the ones lie in the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from chexalign.cli import main
from chexalign.recipe.load import find_recipe, load_recipe, recipe_names
from chexalign.sweep.space import expand, read_grid
from chexalign.sweep.trials import arm_of, choose, value_at
from tests.trees import mimic_tree
from tests.unit.test_judge_served import TEMPLATE
from tests.unit.test_model_recipes import chexagent_2

RECIPE = "chexalign/chexagent_mimic"
# Table 7 of the paper: algorithm -> its grid, and the best rows with GREEN and with BERTScore as judge.
TABLE_7 = {
    "dpo": ({"beta": [0.01, 0.05, 0.1]}, {"beta": 0.05}, {"beta": 0.05}),
    "lc_dpo": (
        {"beta": [0.01, 0.05, 0.1], "alpha": [0.001, 0.01]},
        {"beta": 0.05, "alpha": 0.01},
        {"beta": 0.05, "alpha": 0.01},
    ),
    "ipo": ({"tau": [0.1, 0.5, 1.0]}, {"tau": 1.0}, {"tau": 1.0}),
    "kto": ({"beta": [0.01, 0.05, 0.1]}, {"beta": 0.05}, {"beta": 0.1}),
    "orpo": ({"lambda": [0.5, 1, 4, 5]}, {"lambda_": 5}, {"lambda_": 4}),
}


def grid_file(algorithm: str) -> Path:
    return find_recipe(f"grids/{algorithm}")


@pytest.mark.parametrize("algorithm", TABLE_7)
def test_the_best_rows_are_the_paper_s_and_lie_in_its_grid(algorithm):
    grid, green, bertscore = TABLE_7[algorithm]
    assert yaml.safe_load(grid_file(algorithm).read_text()) == {f"train.{key}": values for key, values in grid.items()}
    arms = load_recipe(RECIPE).resolved_arms()
    for judge, best in (("green", green), ("bertscore", bertscore)):
        arm = arms[f"{algorithm}_{judge}"]
        assert (arm.train.algorithm, arm.judge.name, arm.train.parameters()) == (algorithm, judge, best)
        assert all(best[key if key in best else f"{key}_"] in values for key, values in grid.items())


def test_the_paper_s_settings_of_the_larger_model():
    recipe = load_recipe(RECIPE)
    assert set(recipe.arms) == {f"{a}_{judge}" for a in TABLE_7 for judge in ("green", "bertscore")}
    assert (recipe.data.split["prefer"], recipe.policy.freeze, recipe.policy.max_images) == (80000, ["vision"], 2)
    assert (recipe.sample.n, recipe.sample.temperature, recipe.sample.max_new_tokens) == (4, 1.0, 512)
    assert (recipe.evaluate.temperature, recipe.evaluate.max_new_tokens) == (1.0, 512)
    for arm in recipe.arms.values():
        train = arm.train
        assert (train.learning_rate, train.global_batch, train.epochs, train.warmup_ratio) == (1e-6, 32, 1, 0.1)
        assert arm.pairs.rule == "best_worst"


def test_the_smaller_model_has_one_row_per_judge_and_shares_all_else():
    both, one = load_recipe("chexalign/chexagent2_mimic_green"), load_recipe("chexalign/chexagent2_mimic")
    assert {arm.judge.name: arm.train.beta for arm in both.arms.values()} == {"green": 0.1, "bertscore": 0.1}
    assert both.arms["dpo_bertscore"] == next(iter(one.arms.values()))
    assert all(getattr(both, block) == getattr(one, block) for block in ("data", "policy", "sample", "compute", "seed"))
    assert [recipe.evaluate.temperature for recipe in (both, one)] == [0.0, 0.0]


@pytest.mark.parametrize(("model", "temperature"), [("chexagent", 1.0), ("chexagent2", 0.0)])
def test_policies_are_tested_on_chexpert_plus_as_on_mimic_and_nothing_is_trained(model, temperature):
    recipe, mimic = (load_recipe(f"chexalign/{model}_{data}") for data in ("chexpert_plus", "mimic"))
    assert (recipe.arms, recipe.data.source) == ({}, "chexpert-plus")
    assert recipe.evaluate.temperature == mimic.evaluate.temperature == temperature
    assert recipe.evaluate.max_new_tokens == mimic.evaluate.max_new_tokens
    assert (recipe.policy.template, recipe.policy.max_images) == (mimic.policy.template, mimic.policy.max_images)


@pytest.mark.parametrize("algorithm", TABLE_7)
def test_each_grid_can_be_swept(algorithm):
    recipe, grid = load_recipe(RECIPE), read_grid(grid_file(algorithm))
    chosen = choose(recipe, f"{algorithm}_green", None)
    assert chosen.raw == "green"
    arms = [arm_of(RECIPE, (), chosen, values, "--grid-file") for values in expand(grid)]
    assert len({chosen.trial(arm)[0] for arm in arms}) == len(arms)
    assert recipe.resolved_arms()[chosen.arm] in arms
    assert all(value_at(arm, key) is not None for arm in arms for key in grid)


@pytest.mark.parametrize("name", [RECIPE, "chexalign/chexagent2_mimic_green"])
def test_a_plan_accepts_the_recipe(name, tmp_path, capsys):
    """With the prompt of GREEN in a file, and a small model of the smaller kind in the place of either."""
    prompt = tmp_path / "green.txt"
    prompt.write_text(TEMPLATE)
    text, python = find_recipe(name).read_text(), "python: green-env/bin/python"
    assert text.count(python) == 1
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text.replace(python, f"template: {prompt}"))
    places = [f"policy.model={chexagent_2(tmp_path / 'model')}", f"data.root={mimic_tree(tmp_path / 'mimic')}"]
    command = ["plan", str(recipe), "--json", *(word for place in places for word in ("--set", place))]
    assert main.main([*command, "--set", "evaluate.metrics=[chexpert]"]) == 0
    rows = {row["stage"]: row["rows"] for row in json.loads(capsys.readouterr().out)}
    assert rows["candidates"] == 4 * rows["prompts"]


def test_a_grid_is_no_recipe():
    assert not [name for name in recipe_names() if name.startswith("grids")]
