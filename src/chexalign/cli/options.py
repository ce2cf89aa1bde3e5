"""Options that several verbs share, and how verbs print data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """RECIPE and --set: what `load_recipe(args.recipe, args.set)` takes."""
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file, or the name of a built-in recipe such as demo")
    add_set(parser)


def add_set(parser: argparse.ArgumentParser) -> None:
    """--set, for verbs that know their recipe."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="replace one value of the recipe, as in train.beta=0.05; may be repeated",
    )


def add_runs(parser: argparse.ArgumentParser) -> None:
    """--runs: the folder that holds the run folders."""
    parser.add_argument(
        "--runs", metavar="DIR", type=Path, default=Path("runs"), help="folder of the run folders (default: runs)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json: data for programs on stdout."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Prints rows with the same keys on stdout: as JSON, or as columns, empty ones left out."""
    if as_json:
        print(json.dumps([dict(row) for row in rows], indent=2, ensure_ascii=False))
        return
    cells = [{key: _cell(value) for key, value in row.items()} for row in rows]
    columns = [key for key in (rows[0] if rows else ()) if any(row[key] for row in cells)]
    widths = {key: max(len(key), *(len(row[key]) for row in cells)) for key in columns}
    for row in ({key: key.upper() for key in columns}, *cells) if cells else ():
        print("  ".join(f"{row[key]:<{widths[key]}}" for key in columns).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
