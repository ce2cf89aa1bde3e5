"""`chexalign data check`: whether splits leak and tables hold what they should; exit code 1 where they do not."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from chexalign.cli.options import add_json, add_runs, add_set, print_rows
from chexalign.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chexalign.audit.verdict import Check

HELP = """Finds patients, studies, images, copies of images and reports that are in two splits, contradictions, empty
texts, damaged files and counts that are not the published ones.

Exit code 1 when a check fails. It prints ids and hashes, never a text. docs/data-check.md says what each check is."""
EXAMPLE = "chexalign data check prepared/mimic --workers 4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FOLDER or RECIPE, and how much is looked at."""
    parser.add_argument("target", metavar="FOLDER", help="a folder of tables, or the recipe of a run")
    parser.add_argument("--no-images", action="store_true", help="open no image: copies and damage are not looked for")
    parser.add_argument("--near-texts", action="store_true", help="also look for long reports that are nearly the same")
    parser.add_argument("--workers", metavar="N", type=int, default=1, help="processes that hash images (default: 1)")
    parser.add_argument("--show", metavar="N", type=int, default=5, help="examples per check (default: 5)")
    add_set(parser)
    add_runs(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one row per check, and examples below; 1 when one fails."""
    from chexalign.audit.check import check_prepared
    from chexalign.audit.tables import open_prepared
    from chexalign.audit.verdict import worst
    from chexalign.stage import locked

    root = folder_of(args)
    prepared = open_prepared(root)
    if args.no_images:
        checks = check_prepared(prepared, images=False, near_texts=args.near_texts)
    else:
        with locked(root):
            checks = check_prepared(prepared, workers=args.workers, near_texts=args.near_texts)
    status = worst(check.status for check in checks)
    if args.json:
        shown = [asdict(check) | {"found": list(check.found[: args.show])} for check in checks]
        print(json.dumps({"status": status, "checks": shown}, indent=2, ensure_ascii=False))
    else:
        _print(checks, args.show)
        print(f"\n{root}: {status}")
    return int(status == "fail")


def folder_of(args: argparse.Namespace) -> Path:
    """The folder that is meant: itself, or that of the run of a recipe.

    Raises: UserError when there is neither a folder nor a recipe of the name, or the run has no folder.
    """
    from chexalign.recipe.load import find_recipe, load_recipe

    if (folder := Path(args.target)).is_dir():
        return folder
    try:
        find_recipe(args.target)
    except UserError:
        raise UserError(
            f"{args.target} is neither a folder nor a recipe.",
            "Tables are looked for in a folder that `chexalign data prepare` made, or in that of a recipe's run.",
            "Give the folder that was --out, or a recipe.",
        ) from None
    recipe = load_recipe(args.target, args.set)
    if not (args.runs / recipe.run).is_dir():
        raise UserError(
            f"The recipe {args.target} has no run in {args.runs}.",
            f"Its folder would be {args.runs / recipe.run}.",
            f"Make its studies first: chexalign data prepare {args.target}",
        )
    return args.runs / recipe.run


def _print(checks: Sequence[Check], show: int) -> None:
    print_rows([{"check": c.name, "verdict": c.status, "what was found": c.said} for c in checks], as_json=False)
    for check in checks:
        if check.status not in ("warn", "fail"):
            continue
        print(f"\n{check.name}:")
        for example in check.found[:show]:
            print("  " + "  ".join(f"{key} {value}" for key, value in example.items()))
        if check.n > min(show, len(check.found)):
            print(f"  ... {check.n:,} in all")
