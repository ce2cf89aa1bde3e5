"""What is wrong with a recipe, in three lines with the file, the line and the nearest valid key."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from chexalign.errors import UserError
from chexalign.recipe.blocks import Block
from chexalign.recipe.whole import Recipe

Key = tuple[str | int, ...]

_MARKS = ("[key]", "[one]", "[several]")  # what pydantic adds to a place, and the recipe does not hold

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "string": "text",
    "list": "a list, as in [a, b]",
    "dict": "a block of keys",
    "model": "a block of keys",
    "path": "a path",
    "literal": "one of {expected}",
    "enum": "one of {expected}",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "string_pattern": "lower-case letters, digits, _ and - alone",
    "too_short": "at least {min_length} long",
}


class Written(Protocol):
    """The recipe file, as far as an error has to point at it."""

    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def overrides(self) -> frozenset[Key]: ...  # noqa: D102

    def written(self, key: Key) -> Key: ...  # noqa: D102
    def line(self, key: Key) -> int | None: ...  # noqa: D102


class Problem(NamedTuple):
    """One thing that is wrong, at the key as the file writes it."""

    key: Key
    line: int
    what: str
    why: str
    fix: str
    kind: Literal["wrong", "unknown", "missing"] = "wrong"


def user_error(errors: Sequence[ErrorDetails], source: Written) -> UserError:
    """The first problem of the file in full, with the keys of the others."""
    problems: dict[Key, Problem] = {}
    for error in errors:
        problem = _problem(error, source)
        problems.setdefault(problem.key, problem)
    # a misspelt key is told before the key that is missing because of it
    misspelt = {problem.key[:-1]: problem.line for problem in problems.values() if problem.kind == "unknown"}

    def place(problem: Problem) -> tuple[int, bool]:
        missing = problem.kind == "missing"
        return max(problem.line, misspelt.get(problem.key[:-1], 0) if missing else 0), missing

    first, *others = sorted(problems.values(), key=place)
    more = f" ({len(others)} more: {', '.join(dotted(p.key) for p in others)})" if others else ""
    return UserError(first.what, first.why, first.fix + more)


def dotted(key: Key) -> str:
    """The key as people write it: "evaluate.metrics[1].name"."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")


def field_at(key: Key) -> FieldInfo | None:
    """The field of the recipe that the key names; None where the key names none."""
    return _found(key)[0]


def valid_keys(key: Key) -> list[str]:
    """The keys that a block takes, in order; those of the file's top level for an empty key."""
    if not key:
        return [name for name in _fields(Recipe) if name != "arms"] + ["judge", "pairs", "train", "arms"]
    _, names = _found(key)
    return [*names, "train"] if key == ("mine",) else names


def _found(key: Key) -> tuple[FieldInfo | None, list[str]]:
    """The field that the key names, and the keys that may follow it."""
    found: FieldInfo | None = None
    names: list[str] = []
    block: type[Block] | None = Recipe
    named: type[Block] | None = None  # what a table holds, whose names are free
    for part in _through_arms(key):
        if isinstance(part, int):
            continue
        if named:
            block, named = named, None
            names = list(_fields(block))
            continue
        field = _fields(block).get(part) if block else None
        if field is not None:
            found, block, table = field, _block_of(field.annotation), _table(field.annotation)
            names = list(get_args(get_args(table)[0])) if table else list(_fields(block)) if block else []
            if table:
                block, named = None, block
        elif block or found is None or not _table(found.annotation):
            return None, []
        else:
            names = []
    return found, names


def _problem(error: ErrorDetails, source: Written) -> Problem:
    # pydantic names a default that fails by its field, and a given value by its alias
    key = tuple("lambda" if part == "lambda_" else part for part in error["loc"] if part not in _MARKS)
    written = source.written(key)
    line = source.line(written)
    at = f"{source.path} line {line}" if line else str(source.path)
    if any(other[: len(written)] == written for other in source.overrides):
        line, at = 0, "--set"
    kind = error["type"]
    if kind in ("extra_forbidden", "invalid_key") or (kind == "literal_error" and "[key]" in error["loc"]):
        return Problem(written, line or 0, f"{at}: unknown key {dotted(written)}", *_unknown(written), "unknown")
    if kind in ("missing", "missing_choice"):
        return Problem(
            written, line or 1 << 30, f"{at}: {dotted(written)} is missing", *_missing(written, error), "missing"
        )
    if kind == "mistake":
        context = error.get("ctx", {})
        return Problem(
            written, line or 0, f"{at}: {dotted(written)} {context['problem']}", _doc(written), context["fix"]
        )
    what = f"{at}: {dotted(written)} is {_shown(error['input'])}"
    why = f"it must be {_expected(error)}: {_doc(written)}"
    return Problem(written, line or 0, what, why, f"write for example {_example(written)}")


def _unknown(key: Key) -> tuple[str, str]:
    block, name = key[:-1], str(key[-1])
    names = valid_keys(block)
    why = f"{dotted(block) or 'a recipe'} takes: {', '.join(names)}"
    near = [dotted((*block, near)) for near in difflib.get_close_matches(name, names, n=1)]
    elsewhere = [other for other in _all_keys() if other.rpartition(".")[2] == name]
    found = near or elsewhere
    return why, f"did you mean {found[0]}?" if found else f"remove {dotted(key)}"


def _missing(key: Key, error: ErrorDetails) -> tuple[str, str]:
    reason = error["msg"] if error["type"] == "missing_choice" else "a recipe must name it; it has no default"
    return f"{reason}: {_doc(key)}", f"add for example {_example(key)}"


def _doc(key: Key) -> str:
    field = field_at(key)
    return (field.description if field else None) or "`chexalign explain demo` shows the keys that there are"


def _example(key: Key) -> str:
    field = field_at(key)
    block = _block_of(field.annotation) if field else None
    names = [name for name, inner in _fields(block).items() if inner.is_required()] if block else []
    if field and field.examples:
        value = str(field.examples[0])
    elif field and field.default is not PydanticUndefined and field.default is not None:
        value = yaml.safe_dump(field.default, default_flow_style=True).removesuffix("...\n").strip()
    else:
        value = "{" + ", ".join(f"{name}: ..." for name in names) + "}" if names else "..."
    name = next((part for part in reversed(key) if isinstance(part, str)), "")
    return f"`{name}: {value}`"


def _expected(error: ErrorDetails) -> str:
    context = {name: str(value) for name, value in error.get("ctx", {}).items()}
    starts = [start for start in _EXPECTED if error["type"].startswith(start)]
    if not starts:
        return error["msg"][:1].lower() + error["msg"][1:]
    return _EXPECTED[max(starts, key=len)].format_map(context)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a block of keys"
    return "empty" if value is None else repr(value)


def _through_arms(key: Key) -> Key:
    if key[:2] == ("mine", "train"):
        return ("mine", "arms", "", *key[1:])
    return ("arms", "", *key) if key[:1] in (("judge",), ("pairs",), ("train",)) else key


def _fields(block: type[Block]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in block.model_fields.items()}


def _table(annotation: Any) -> Any:
    """The type of a table, such as dict[str, float], where a value can be one; else None."""
    if get_origin(annotation) is dict:
        return annotation
    return next((table for table in map(_table, get_args(annotation)) if table), None)


def _block_of(annotation: Any) -> type[Block] | None:
    if inspect.isclass(annotation) and issubclass(annotation, Block):
        return annotation
    return next((block for block in map(_block_of, get_args(annotation)) if block), None)


def _all_keys(key: Key = ()) -> Iterator[str]:
    for name in valid_keys(key):
        yield dotted((*key, name))
        if name not in ("arms", "of") and len(key) < 3:
            yield from _all_keys((*key, name))
