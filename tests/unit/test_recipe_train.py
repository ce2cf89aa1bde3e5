"""What a recipe may say of an algorithm's own parameters."""

import pytest
import yaml

from chexalign.recipe import OPTIONAL_PARAMETERS, PARAMETERS, Recipe
from chexalign.recipe.load import load_recipe
from tests.recipes import plain, problem, writer


@pytest.fixture
def write(tmp_path):
    return writer(tmp_path)


def test_orpo_spells_its_weight_lambda_as_the_paper_does():
    raw = plain() | {"train": {"algorithm": "orpo", "lambda": 4, "learning_rate": 1e-5}}
    recipe = Recipe.model_validate(raw)
    assert recipe.resolved_arms()["orpo_chexpert"].train.parameters() == {"lambda_": 4.0}
    assert "lambda: 4.0" in recipe.to_yaml()


def test_a_plugins_algorithm_checks_its_own_parameters():
    raw = plain() | {"train": {"algorithm": "acme_po", "tau": 0.3, "learning_rate": 1e-5}}
    assert Recipe.model_validate(raw).resolved_arms()["acme_po_chexpert"].train.parameters() == {"tau": 0.3}


@pytest.mark.parametrize("algorithm", PARAMETERS)
def test_each_algorithm_needs_exactly_its_parameters(write, algorithm):
    path = write("algorithm: dpo, beta: 0.1", f"algorithm: {algorithm}")
    error = problem(path)
    assert error.what == f"{path} line 15: train.{PARAMETERS[algorithm][0]} is missing"
    given = ", ".join(f"{name}: 0.1" for name in PARAMETERS[algorithm])
    load_recipe(write("algorithm: dpo, beta: 0.1", f"algorithm: {algorithm}, {given}"))


@pytest.mark.parametrize(
    ("algorithm", "optional"),
    [("ipo", {"reduction": "sum_logp"}), ("kto", {"lambda_c": 1.5}), ("kto", {"lambda_c": 1.5, "lambda_r": 0.5})],
)
def test_optional_parameters_reach_the_loss_and_survive_writing(algorithm, optional):
    train = {"algorithm": algorithm, "learning_rate": 1e-5, **dict.fromkeys(PARAMETERS[algorithm], 0.1)}
    without = Recipe.model_validate(plain() | {"train": train})
    recipe = Recipe.model_validate(plain() | {"train": train | optional})
    (spec,) = (arm.train for arm in recipe.resolved_arms().values())
    assert spec.parameters() == dict.fromkeys(PARAMETERS[algorithm], 0.1) | optional
    assert Recipe.model_validate(yaml.safe_load(recipe.to_yaml())) == recipe
    assert recipe.digest() != without.digest()


@pytest.mark.parametrize("algorithm", PARAMETERS)
def test_an_sft_weight_goes_with_every_algorithm(algorithm):
    train = {"algorithm": algorithm, "learning_rate": 1e-5, **dict.fromkeys(PARAMETERS[algorithm], 0.1)}
    (arm,) = Recipe.model_validate(plain() | {"train": train | {"sft_weight": 0.2}}).resolved_arms().values()
    assert arm.train.sft_weight == 0.2
    assert "sft_weight" not in arm.train.parameters()


def test_what_is_left_out_is_not_written():
    assert set(Recipe.model_validate(plain()).to_dict()["arms"]["dpo_chexpert"]["train"]) == {
        *("algorithm", "beta", "learning_rate", "epochs", "global_batch"),
        *("warmup_ratio", "max_grad_norm", "label_smoothing"),
    }


@pytest.mark.parametrize("algorithm", PARAMETERS)
@pytest.mark.parametrize(
    ("name", "value"), [("reduction", "sum_logp"), ("lambda_c", 1), ("lambda_r", 1), ("label_smoothing", 0.1)]
)
def test_each_algorithm_takes_only_its_own_optional_parameters(write, algorithm, name, value):
    given = ", ".join(f"{needed}: 0.1" for needed in PARAMETERS[algorithm])
    path = write("algorithm: dpo, beta: 0.1", f"algorithm: {algorithm}, {given}, {name}: {value}")
    if name in OPTIONAL_PARAMETERS[algorithm]:
        load_recipe(path)
    else:
        error = problem(path)
        assert f"train.{name} is no parameter of {algorithm}, which takes {PARAMETERS[algorithm][0]}" in error.what
        assert error.fix.startswith(f"remove {name}")


def test_an_arm_with_another_algorithm_leaves_the_firsts_smoothing_behind():
    train = {"algorithm": "dpo", "beta": 0.1, "label_smoothing": 0.2, "sft_weight": 0.3, "learning_rate": 1e-4}
    arms = {"a": None, "b": {"train": {"algorithm": "ipo", "tau": 0.3}}, "c": {"train": {"beta": 0.5}}}
    resolved = Recipe.model_validate(plain() | {"train": train, "arms": arms}).resolved_arms()
    assert [arm.train.label_smoothing for arm in resolved.values()] == [0.2, 0.0, 0.2]
    assert [arm.train.sft_weight for arm in resolved.values()] == [0.3, 0.3, 0.3]


def test_a_plugins_algorithm_takes_any_parameter():
    train = {"algorithm": "acme_po", "lambda_c": 2, "label_smoothing": 0.1, "learning_rate": 1e-5}
    (arm,) = Recipe.model_validate(plain() | {"train": train}).resolved_arms().values()
    assert (arm.train.parameters(), arm.train.label_smoothing) == ({"lambda_c": 2.0}, 0.1)
