"""What a sweep varies: grids of values and ranges of numbers, as they are written on the command line or in a file."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chexalign.errors import UserError

Grid = dict[str, tuple[str, ...]]  # key of the recipe -> values as they are written
BLOCKS = ("train", "pairs")  # of the recipe, whose keys trials may differ in: what comes before, they share


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high, both among them; `log` draws their logarithm evenly."""

    low: float
    high: float
    log: bool = False
    whole: bool = False  # numbers without a fraction alone


def parse_grid(texts: Iterable[str]) -> Grid:
    """The grid of texts such as "train.beta=0.01,0.05".

    Raises: UserError for a text that is not of that form, a value given twice and a key given twice.
    """
    grid: Grid = {}
    for text in texts:
        key, equals, values = (part.strip() for part in text.partition("="))
        if not equals:
            raise _mistake(f"--grid {text}", "it has no =, with values behind it")
        _add(grid, key, values.split(","), f"--grid {text}")
    return grid


def read_grid(path: Path) -> Grid:
    """The grid of a YAML file: keys of the recipe with lists of values.

    Raises: UserError when it is no such file.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise _mistake(f"--grid-file {path}", "there is no YAML file that can be read") from None
    if not isinstance(raw, dict) or not raw or not all(isinstance(values, list) for values in raw.values()):
        raise _mistake(f"--grid-file {path}", "it must hold keys of the recipe with a list of values each")
    grid: Grid = {}
    for key, values in raw.items():
        if any(isinstance(value, list | dict) for value in values):
            raise _mistake(f"--grid-file {path}", f"{key} has a value that is a list or a block")
        _add(grid, str(key), [_written(value) for value in values], f"--grid-file {path}")
    return grid


def expand(grid: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Every combination of the grid's values once, the last key moving fastest; none of an empty grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())] if grid else []


def parse_ranges(texts: Iterable[str]) -> dict[str, Range]:
    """The ranges of texts such as "train.beta=0.01..0.5:log"; of whole numbers where both bounds are.

    Raises: UserError for a text that is not of that form, bounds in the wrong order and a key given twice.
    """
    ranges: dict[str, Range] = {}
    for text in texts:
        what, (key, _, bounds) = f"--range {text}", (part.strip() for part in text.partition("="))
        found = _range(bounds)
        if found is None:
            raise _mistake(what, "it must be LOW..HIGH with LOW below HIGH, and above 0 for :log", _RANGE_EXAMPLE)
        _check_key(key, ranges, what)
        ranges[key] = found
    return ranges


def _range(text: str) -> Range | None:
    """The range of a text such as "0.01..0.5:log"; None where it is none."""
    bounds, colon, log = text.partition(":")
    low_text, _, high_text = (part.strip() for part in bounds.partition(".."))
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        return None
    right = -math.inf < low < high < math.inf and (not colon or (log == "log" and low > 0))
    whole = all(re.fullmatch(r"[+-]?[0-9]+", bound) for bound in (low_text, high_text))
    return Range(low, high, bool(colon), whole) if right else None


_RANGE_EXAMPLE = "write for example --range train.beta=0.01..0.5:log"


def _add(grid: Grid, key: str, values: Sequence[str], what: str) -> None:
    _check_key(key, grid, what)
    stripped = tuple(value.strip() for value in values)
    if not stripped or not all(stripped):
        raise _mistake(what, f"{key or 'it'} has an empty value")
    if len(set(stripped)) < len(stripped):
        raise _mistake(what, f"{key} has a value twice")
    grid[key] = stripped


def _check_key(key: str, known: Mapping[str, Any], what: str) -> None:
    if key in known:
        raise _mistake(what, f"{key} is given twice")
    if not all(key.split(".")):
        raise _mistake(what, "it must begin with a dotted key of the recipe")


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _mistake(what: str, why: str, fix: str = "write for example --grid train.beta=0.01,0.05,0.1") -> UserError:
    return UserError(what, why, fix)
