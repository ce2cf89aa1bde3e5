"""`chexalign data prepare`: a collection as tables of studies or questions, with an account of what was left out."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexalign.cli.options import add_json, add_runs, add_set
from chexalign.errors import UserError
from chexalign.registry import Kind, registry

if TYPE_CHECKING:
    from chexalign.run_folder import RunFolder
    from chexalign.store import Manifest, Table
    from chexalign.workflow import Workflow

HELP = """Reads a collection as its owner ships it and writes its tables and an account of what was left out.

NAME is a dataset or a source of questions (`chexalign list datasets`, `chexalign list questions`); with a RECIPE the
studies and questions of its run are made, and `chexalign run` goes on from them.
An interrupted command goes on where it stopped.

Without --split, all studies of the collection's official splits are taken."""
EXAMPLE = "chexalign data prepare mimic-cxr --root mimic-cxr-jpg --out prepared/mimic"

_KINDS: tuple[Kind, ...] = ("datasets", "questions")
_TABLES = {"datasets": "studies", "questions": "questions"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME or RECIPE, and where the collection and the tables are."""
    parser.add_argument("name", metavar="NAME", help="a dataset, a source of questions, or a recipe")
    parser.add_argument("--root", metavar="DIR", type=Path, help="the collection, or the file of a table (data.root)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for the tables")
    parser.add_argument("--images", metavar="DIR", type=Path, help="the images, where they are not under --root")
    parser.add_argument("--archive", metavar="FILE", type=Path, help="the reports, where they are not under --root")
    parser.add_argument("--split", metavar="NAME=N,...", help="studies per split, as in sft=2000,test=500")
    parser.add_argument(
        "--option", metavar="KEY=VALUE", action="append", default=[], help="another option of the source, as prior=true"
    )
    parser.add_argument("--only", choices=_TABLES.values(), help="of a collection that has both studies and questions")
    parser.add_argument("--limit", metavar="N", type=int, help="only so many items, spread over the collection")
    parser.add_argument("--workers", metavar="N", type=int, help="processes (default: 1, or as the recipe says)")
    add_set(parser)
    add_runs(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one line per table: where, how many rows, and how many were left out for which reason."""
    from chexalign.cli.carry_out import print_manifests
    from chexalign.run_folder import RunFolder

    kinds = [kind for kind in _KINDS if args.name in registry(kind).names()]
    if not kinds:
        return _recipe(args)
    kinds = [kind for kind in kinds if args.only in (None, _TABLES[kind])] or kinds
    if args.set:
        raise UserError(
            f"--set {args.set[0]}", f"{args.name} is no recipe, so it has no keys to set", "use --option KEY=VALUE"
        )
    if args.out is None:
        raise UserError(
            "--out is missing.",
            f"The tables of {args.name} need a folder of their own.",
            f"Add for example --out prepared/{args.name}",
        )
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit {args.limit}", "at least one item is needed", "give a number from 1 on")
    manifests: dict[str, Manifest] = {}
    for kind in kinds:
        manifests |= _prepared(kind, args)
    print_manifests({str(args.out / name): manifest for name, manifest in manifests.items()}, as_json=args.json)
    run = RunFolder(args.out)
    _print_headers(run, [run.studies if kind == "datasets" else run.questions(args.name) for kind in kinds])
    return 0


def _print_headers(run: RunFolder, tables: Sequence[Table[Any]]) -> None:
    """What the headers of DICOM images give away, counted over the tables; nothing where no image is one."""
    from chexalign.data.dicom_header import count_headers

    if not any(run.images.glob("*.json")):
        return
    images = (image for table in tables for row in table.iter_rows() for image in row.images)
    for line in count_headers(run.root, images).lines():
        print(line, file=sys.stderr)


def _prepared(kind: Kind, args: argparse.Namespace) -> dict[str, Manifest]:
    from chexalign.data.collect import prepare_questions, prepare_studies

    options: dict[str, Any] = {name: _value(name, value) for name, value in map(_pair, args.option)}
    options |= {n: v for n in ("root", "images", "archive") if (v := getattr(args, n)) is not None}
    if kind == "datasets":
        split = _split(args.split) if args.split else None
        return prepare_studies(args.name, options, args.out, split=split, limit=args.limit, workers=args.workers or 1)
    if args.split:
        raise UserError(
            f"--split {args.split}",
            f"{args.name} is a source of questions, which has its splits: train, validation and test",
            "leave --split out, or use --limit for fewer questions",
        )
    return prepare_questions(args.name, options, args.out, limit=args.limit, workers=args.workers or 1)


def _recipe(args: argparse.Namespace) -> int:
    """Makes the studies of the recipe's run, and the questions of its collections."""
    from chexalign.cli.carry_out import hold, print_manifests
    from chexalign.recipe.load import find_recipe, load_recipe

    if not Path(args.name).is_file():
        try:
            find_recipe(args.name)
        except UserError:
            raise _unknown(args.name) from None
    for option in ("root", "out", "images", "archive", "split", "limit", "only"):
        if getattr(args, option) is not None:
            raise UserError(
                f"--{option} with the recipe {args.name}",
                "a recipe says itself where its data are and how they are split",
                "use --set, as in --set data.root=DIR" if option in ("root", "images", "archive") else "leave it out",
            )
    recipe = load_recipe(args.name, [*args.set, *([f"workers={args.workers}"] if args.workers else [])])

    def tables(workflow: Workflow) -> None:
        run = workflow.run
        made: dict[Table[Any], Manifest] = {run.studies: workflow.studies()}
        for collection in recipe.questions.collections if recipe.questions else ():
            made[run.questions(collection.source)] = workflow.questions(collection)
        print_manifests({str(table.folder): manifest for table, manifest in made.items()}, as_json=args.json)
        _print_headers(run, list(made))

    hold(recipe, args.runs, tables)
    return 0


def _unknown(name: str) -> UserError:
    from chexalign.recipe.load import recipe_names

    known = [other for kind in _KINDS for other in registry(kind).names()]
    near = difflib.get_close_matches(name, [*known, *recipe_names()], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(
        f"there is no collection and no recipe {name!r}",
        f"the collections are: {', '.join(dict.fromkeys(known))}",
        f"{hint}`chexalign list datasets` and `chexalign list questions` show what they are",
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UserError(f"--option {text}", "an option is a name, = and a value", "write for example prior=true")
    return name.strip(), value


def _value(name: str, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--option {name}", "the value is not YAML", "quote it, or use [a, b] for a list") from None


def _split(text: str) -> dict[str, int]:
    from typing import get_args

    from chexalign.recipe import SplitName

    sizes: dict[str, int] = {}
    for name, value in (part.partition("=")[::2] for part in text.split(",")):
        if name.strip() not in get_args(SplitName) or not value.strip().isdigit() or name.strip() in sizes:
            raise UserError(
                f"--split {text}",
                f"each split is one of {', '.join(get_args(SplitName))}, once, with = and a number",
                "write for example --split sft=2000,test=500",
            )
        sizes[name.strip()] = int(value)
    return sizes
