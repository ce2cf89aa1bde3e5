"""Whatever the values, a recipe survives writing, and whatever the mistake, it is told in three lines."""

from __future__ import annotations

import copy
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chexalign.errors import UserError
from chexalign.recipe import OPTIONAL_PARAMETERS, PARAMETERS, Recipe
from chexalign.recipe.load import find_recipe, load_recipe

RAW = yaml.safe_load(find_recipe("demo").read_text())
NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("sft", "base", "reference")
)
POSITIVE = st.floats(min_value=1e-6, max_value=1e6)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("abcé\n:#' ", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", min_size=1, max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
JUDGES = st.recursive(
    NAMES.filter(lambda name: name != "lc"),
    lambda inner: st.fixed_dictionaries(
        {"name": NAMES, "of": inner}, optional={"options": st.dictionaries(NAMES, PLAIN, max_size=2)}
    ),
    max_leaves=2,
)


OPTIONAL = {
    "label_smoothing": st.floats(0, 0.49),
    "reduction": st.sampled_from(["sum_logp", "mean_logp"]),
    "lambda_c": POSITIVE,
    "lambda_r": POSITIVE,
}


@st.composite
def trainings(draw: st.DrawFn) -> dict[str, Any]:
    algorithm = draw(st.sampled_from(sorted(PARAMETERS)))
    own = {name: draw(POSITIVE) for name in PARAMETERS[algorithm]}
    own |= draw(st.fixed_dictionaries({}, optional={name: OPTIONAL[name] for name in OPTIONAL_PARAMETERS[algorithm]}))
    own |= draw(st.fixed_dictionaries({}, optional={"sft_weight": st.just(0.0) | POSITIVE}))
    return {"algorithm": algorithm, "learning_rate": draw(POSITIVE), "epochs": draw(POSITIVE), **own}


ARMS = st.dictionaries(NAMES, st.fixed_dictionaries({"judge": JUDGES, "train": trainings()}), min_size=1, max_size=3)


@given(arms=ARMS, n=st.integers(2, 9), seed=st.integers(0, 2**40), workers=st.integers(1, 64))
def test_a_recipe_survives_writing(arms, n, seed, workers):
    raw = RAW | {"arms": arms, "sample": {"n": n}, "seed": seed, "workers": workers, "pairs": {"rule": "best_worst"}}
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:  # two arms may have drawn one judge with two sets of options
        assert {problem["type"] for problem in error.errors()} == {"mistake"}  # noqa: PT017
        return
    again = Recipe.model_validate(yaml.safe_load(recipe.to_yaml()))
    assert again == recipe
    assert again.digest() == recipe.digest()
    for name, arm in recipe.resolved_arms().items():
        assert arm.pairs.rule == "best_worst"
        train = arms[name]["train"]
        own = {*PARAMETERS[train["algorithm"]], *OPTIONAL_PARAMETERS[train["algorithm"]]} - {"label_smoothing"}
        assert {key.rstrip("_") for key in arm.train.parameters()} == own & train.keys()


def keys(block: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = block.items() if isinstance(block, dict) else ()
    return [key for name, value in inner for key in [(*at, name), *keys(value, (*at, name))]]


@given(key=st.sampled_from(keys(RAW)), value=PLAIN, rename=st.booleans())
def test_any_damage_loads_or_is_told_in_three_lines(key, value, rename, tmp_path_factory):
    raw = copy.deepcopy(RAW)
    block = raw
    for part in key[:-1]:
        block = block[part]
    if rename:
        block[f"{key[-1]}x"] = block.pop(key[-1])
    else:
        block[key[-1]] = value
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
    try:
        load_recipe(path)
    except UserError as error:
        assert str(path) in error.what  # noqa: PT017
        assert all(line.strip() for line in error.args)  # noqa: PT017
        assert str(error).count("\n") == 2  # noqa: PT017
