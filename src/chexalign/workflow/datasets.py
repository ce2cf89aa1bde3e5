"""The dataset that a recipe names."""

from __future__ import annotations

import inspect
from typing import Any

from chexalign.data.base import Dataset
from chexalign.data.normalize import Normalized
from chexalign.errors import UserError
from chexalign.recipe import Recipe
from chexalign.registry import registry


def make_dataset(recipe: Recipe) -> Dataset:
    """The dataset that the recipe names, made with the options of `data` that it takes; nothing is read yet.

    Raises: UserError for an option that is set and that the dataset does not take.
    """
    data, make = recipe.data, registry("datasets").get(recipe.data.source)
    takes = inspect.signature(make).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    options: dict[str, Any] = {}
    for name, field_ in type(data).model_fields.items():
        value = getattr(data, name)
        if takes_all or (name in takes and (value is not None or takes[name].default is inspect.Parameter.empty)):
            options[name] = tuple(value) if isinstance(value, list) else value
        elif name not in takes and name not in ("source", "normalizer") and value != field_.get_default():
            raise UserError(
                f"data.{name} is set, and data.source is {data.source}.",
                f"That dataset does not take it; it takes: {', '.join(sorted(takes))}.",
                f"Remove data.{name}, or name another dataset.",
            )
    for name in ("source", "normalizer"):
        options.pop(name, None)
    dataset: Dataset = make(**options)
    return dataset if data.normalizer == "raw" else Normalized(dataset, data.normalizer)
