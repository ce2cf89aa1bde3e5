"""`chexalign list`: what a recipe can name."""

from __future__ import annotations

import argparse
import inspect
from typing import Any

from chexalign.cli.options import add_json, print_rows
from chexalign.errors import UserError
from chexalign.registry import KINDS, Entry, Kind, registry

HELP = "Shows what a recipe can name: built-ins and whatever installed packages add."
EXAMPLE = "chexalign list judges"

_DESCRIBED = ("needs", "license", "cost")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """KIND, --json."""
    parser.add_argument("kind", metavar="KIND", choices=(*KINDS, "recipes"), help=f"{', '.join(KINDS)} or recipes")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one row per name; a package that cannot be loaded is shown with the reason."""
    rows = _recipes() if args.kind == "recipes" else [_row(args.kind, entry) for entry in registry(args.kind).entries()]
    print_rows(rows, as_json=args.json)
    return 0


def _row(kind: Kind, entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {"name": entry.name, "version": None, "package": entry.distribution, "what": None}
    described = dict.fromkeys(_DESCRIBED)
    try:
        found = registry(kind).get(entry.name)
    except UserError as error:
        return row | {"what": f"cannot be loaded: {error.why}"} | described
    about = getattr(found, "describe", None)
    about = about if isinstance(about, dict) else {}
    summary = (inspect.getdoc(found) or "").partition("\n")[0]
    row |= {"version": _version(kind, found), "what": summary}
    return row | {key: about.get(key) for key in _DESCRIBED}


def _version(kind: Kind, found: Any) -> str | None:
    """The version of a class; that of a judge can depend on what is installed, so it may take making one to know."""
    if kind == "judges" and not isinstance(getattr(found, "version", None), str):
        try:
            found = found()
        except Exception:  # it needs options, a judge inside, or a package that is not here
            return None
    version = getattr(found, "version", None)
    return version if isinstance(version, str) else None


def _recipes() -> list[dict[str, Any]]:
    from chexalign.recipe.load import find_recipe, recipe_names

    return [
        {"name": name, "what": find_recipe(name).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")}
        for name in recipe_names()
    ]
