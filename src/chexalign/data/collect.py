"""A collection made into the tables of a folder, without a recipe: its studies, or its questions."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import json
import typing
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chexalign import atomic
from chexalign.data.base import Dataset, Item
from chexalign.data.normalize import Normalized
from chexalign.data.prepare import StudiesWorker
from chexalign.data.questions import QuestionSource, QuestionsWorker
from chexalign.errors import UserError
from chexalign.recipe import NormalizerName
from chexalign.registry import Kind, registry
from chexalign.run_folder import RunFolder
from chexalign.spread import PartWorker
from chexalign.stage import StageKey, locked, run_parts
from chexalign.store import MANIFEST, Manifest, Table

ASKED = "asked.json"  # beside the parts of a table: what it was asked for, so that no other is written over it
BEYOND_LIMIT = "beyond_the_limit"

Listing = tuple[list[Item], dict[str, int]]  # items, and how many were dropped for which reason

_ALL = 10_000_000  # more studies than any collection has
_OFFICIAL = ("sft", "validation", "test")  # what official splits become where no sizes are given
_PER_PART = 100


def prepare_studies(
    name: str,
    options: Mapping[str, Any],
    out: Path,
    *,
    split: Mapping[str, int] | None = None,
    limit: int | None = None,
    workers: int = 1,
) -> dict[str, Manifest]:
    """The manifest of `studies/` in the folder `out`, after making what is missing of it.

    Without `split`, all studies of the official splits; with `limit`, so many of them, spread evenly.
    Raises: UserError for an option that the dataset does not take, a collection that cannot be read or has no official
    splits, and a folder that holds other tables.
    """
    sizes, listing = (dict(split), None) if split is not None else _official_splits(name, options)
    dataset = _dataset(name, options, sizes)
    items, dropped = listing or dataset.items()
    kept, left = _limited(items, limit)
    account = Counter(dropped) + Counter({BEYOND_LIMIT: len(left)})
    folder = RunFolder(out)
    with locked(out):
        worker = StudiesWorker(dataset, kept, folder.images, part_size=_PER_PART)
        del items, kept, left, listing  # the worker has them packed
        key = StageKey("studies", {}, _config(name, options, limit, split=sizes), 0)
        return {"studies": _made(folder, folder.studies, worker, worker.n_parts, key, account, workers)}


def prepare_questions(
    name: str, options: Mapping[str, Any], out: Path, *, limit: int | None = None, workers: int = 1
) -> dict[str, Manifest]:
    """The manifest of `questions/NAME/` in the folder `out`, after making what is missing of it.

    With `limit`, the questions of so many items, which share their images, spread evenly.
    Raises: UserError as `prepare_studies` does.
    """
    source: QuestionSource = make_source("questions", name, options)
    items, dropped = source.items()
    kept, left = _limited(items, limit)
    account = Counter(dropped) + Counter({BEYOND_LIMIT: sum(len(item.drafts) for item in left)})
    folder = RunFolder(out)
    with locked(out):
        worker = QuestionsWorker(source, kept, folder.images, part_size=_PER_PART)
        key = StageKey("questions", {}, _config(name, options, limit), 0)
        table = folder.questions(name)
        return {f"questions/{name}": _made(folder, table, worker, worker.n_parts, key, account, workers)}


def make_source(kind: Kind, name: str, options: Mapping[str, Any]) -> Any:
    """A dataset or a source of questions with the options that it takes, each made what its annotation says.

    Raises: UserError for an option that it does not take or lacks, or a value that cannot be right.
    """
    make = registry(kind).get(name)
    takes = inspect.signature(make).parameters
    if unknown := [o for o in options if o not in takes and all(p.kind is not p.VAR_KEYWORD for p in takes.values())]:
        near = difflib.get_close_matches(unknown[0], takes, n=1)
        raise UserError(
            f"The option {unknown[0]} was given.",
            f"{name} does not take it; it takes: {', '.join(takes) or 'none'}.",
            f"Did you mean {near[0]}?" if near else "Leave it out.",
        )
    many = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    lacking = [n for n, p in takes.items() if p.kind not in many and p.default is p.empty and n not in options]
    if lacking:
        fix = (
            f"Add --{lacking[0]} DIR" if lacking[0] in ("root", "images", "archive") else f"Add --option {lacking[0]}="
        )
        raise UserError(f"The option {lacking[0]} is missing.", f"{name} cannot be read without it.", fix)
    hints = _hints(make)
    return make(**{option: _typed(option, value, hints.get(option, Any)) for option, value in options.items()})


def _dataset(name: str, options: Mapping[str, Any], split: Mapping[str, int]) -> Dataset:
    """The dataset, under the normalizer of references that the options name."""
    own = {option: value for option, value in options.items() if option != "normalizer"}
    dataset: Dataset = make_source("datasets", name, {**own, "split": dict(split)})
    normalizer = _typed("normalizer", options.get("normalizer", "raw"), NormalizerName)
    return dataset if normalizer == "raw" else Normalized(dataset, normalizer)


def _hints(make: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # The fields of a dataclass are annotated in the modules of the classes that it is made of, its constructor in none.
    for annotated in (make, make.__init__) if inspect.isclass(make) else (make,):
        with contextlib.suppress(NameError, TypeError, AttributeError):  # a plugin's need not be there at run time
            found |= typing.get_type_hints(annotated)
    return found


def _typed(name: str, value: Any, hint: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(hint).validate_python(value)
    except PydanticUserError:  # a type that only its author can make
        return value
    except ValidationError as e:
        raise UserError(
            f"The option {name} is {str(value)!r}.",
            e.errors(include_url=False)[0]["msg"] + ".",
            f"Give a value of another type with --option {name}=VALUE; a list is written [a, b].",
        ) from None


def _official_splits(name: str, options: Mapping[str, Any]) -> tuple[dict[str, int], Listing | None]:
    """Sizes that take all that there is of each official split, and what is listed with them where that is known.

    Raises: UserError when the collection cannot be read, or has no splits of its own.
    """
    whole = dict.fromkeys(_OFFICIAL, _ALL)
    if not isinstance(listing := _listed(name, options, whole), UserError):
        return whole, listing
    there = [split for split in _OFFICIAL if not isinstance(_listed(name, options, {split: _ALL}), UserError)]
    if there:
        return dict.fromkeys(there, _ALL), None
    if isinstance(error := _listed(name, options, {"sft": 1}), UserError):
        raise error
    raise UserError(
        f"--split is missing, and {name} has no official splits.",
        "How many studies are learned from and how many are held out is for you to say.",
        "Add for example --split sft=2000,test=500; `chexalign data prepare` then says how many there are at most.",
    )


def _listed(name: str, options: Mapping[str, Any], split: dict[str, int]) -> Listing | UserError:
    """The collection's studies with these splits, or why they cannot be listed."""
    try:
        return _dataset(name, options, split).items()
    except UserError as error:
        return error


def _limited(items: list[Any], limit: int | None) -> tuple[list[Any], list[Any]]:
    """At most so many of the items, spread evenly over them, and the others."""
    if limit is None or limit >= len(items):
        return items, []
    chosen = {i * len(items) // limit for i in range(limit)}
    return [items[i] for i in sorted(chosen)], [item for i, item in enumerate(items) if i not in chosen]


def _config(name: str, options: Mapping[str, Any], limit: int | None, **more: Any) -> dict[str, Any]:
    plain = {o: str(v.absolute()) if isinstance(v, Path) else v for o, v in options.items()}
    whole = {"source": name, **plain, **more, **({} if limit is None else {"limit": limit})}
    found: dict[str, Any] = json.loads(json.dumps(whole, default=str))  # as it is read from the file again
    return found


def _made(
    folder: RunFolder,
    table: Table[Any],
    worker: PartWorker[Any],
    n_parts: int,
    key: StageKey,
    dropped: Mapping[str, int],
    workers: int,
) -> Manifest:
    _claim(folder, table.folder, key.config)
    atomic.remove_leftovers(atomic.make_folder(folder.images))
    return run_parts(table, worker, key=key, n_parts=n_parts, workers=workers, dropped_before=dropped)


def _claim(folder: RunFolder, table: Path, config: Mapping[str, Any]) -> None:
    """Writes down what the table is asked for.

    Raises: UserError when it was made for something else, or belongs to a run.
    """
    if folder.recipe.is_file():
        raise UserError(
            f"{folder.root} is the folder of a run.",
            "Its tables follow from its recipe.",
            "Give --out another folder, or prepare the recipe: chexalign data prepare RECIPE",
        )
    path = table / ASKED
    there = _read(path) if path.is_file() else None
    if there == config:
        return
    if there is not None or (table / MANIFEST).is_file() or any(table.glob("part-*.parquet")):
        other = sorted(key for key in {*(there or {}), *config} if (there or {}).get(key) != config.get(key))
        raise UserError(
            f"{table} holds another table (different: {', '.join(other)}).",
            "Its rows would be mixed with those that are asked for now.",
            f"Give --out another folder, or delete {table}.",
        )
    atomic.write_json(path, config)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = atomic.read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
