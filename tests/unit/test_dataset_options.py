"""Options of datasets, as recipes and `data prepare` hand them over."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from chexalign.data.collect import make_source
from chexalign.data.mimic_cxr import MimicCXR
from chexalign.errors import UserError
from chexalign.recipe import ColumnsSpec, DataSpec
from chexalign.recipe.load import load_recipe
from chexalign.registry import registry
from chexalign.workflow import make_dataset

OURS = [entry.name for entry in registry("datasets").entries() if entry.distribution == "chexalign"]


@pytest.mark.parametrize("name", OURS)
def test_every_option_is_a_key_of_the_recipe_and_is_made_what_its_annotation_says(name):
    takes = inspect.signature(registry("datasets").get(name)).parameters
    assert takes.keys() <= DataSpec.model_fields.keys()
    made = make_source("datasets", name, {"split": {"test": 1}, "views": ["lateral", "frontal"]})
    assert made.views == ("lateral", "frontal")


def test_a_value_of_another_type_is_told():
    columns = make_source("datasets", "table", {"split": {}, "columns": {"id": "acc"}, "root": "t.csv"}).columns
    assert columns == ColumnsSpec(id="acc")
    with pytest.raises(UserError, match="The option views is"):
        make_source("datasets", "mimic-cxr", {"split": {}, "views": ["oblique"]})


def test_what_a_recipe_leaves_out_is_the_default_of_the_dataset():
    recipe = load_recipe("quick")
    data = DataSpec(source="mimic-cxr", root=Path("x"), split={"test": 1})
    assert make_dataset(recipe.model_copy(update={"data": data})) == MimicCXR(root=Path("x"), split={"test": 1})
