"""`chexalign sweep`: the parameters of preference training, searched on the validation split."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexalign.cli.options import add_json, add_recipe, add_runs
from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.recipe import Recipe
    from chexalign.sweep.space import Grid, Range
    from chexalign.sweep.stage import Sweep

HELP = (
    "Trains an arm of a recipe once per combination of a grid, or per draw of TPE, over shared candidates and scores.\n"
    "Picks by the length-controlled judge on the validation split, and says what the raw score would have cost."
)
EXAMPLE = "chexalign sweep demo --arm dpo_label --grid train.beta=0.01,0.05,0.1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RECIPE, --set, what to search, how to choose, and how many at a time."""
    add_recipe(parser)
    parser.add_argument("--arm", metavar="NAME", help="the arm to sweep, where the recipe has several")
    parser.add_argument(
        "--grid",
        metavar="KEY=V,V",
        action="append",
        default=[],
        help="values of a key of train or pairs, as in train.beta=0.01,0.05; may be repeated",
    )
    parser.add_argument("--grid-file", metavar="FILE", type=Path, help="YAML file with a list of values per key")
    parser.add_argument("--tpe", metavar="N", type=int, help="instead of a grid: so many trials, drawn by TPE")
    parser.add_argument(
        "--range",
        metavar="KEY=LOW..HIGH",
        action="append",
        default=[],
        help="numbers that TPE draws from, as in train.beta=0.01..0.5:log; may be repeated",
    )
    parser.add_argument("--select", metavar="lc-JUDGE", help="judge that picks (default: the arm's, length-controlled)")
    parser.add_argument("--workers", metavar="N", type=int, default=1, help="trials at a time (default: 1)")
    parser.add_argument("--name", default="sweep", help="name of the sweep, its folder in RUN.sweeps (default: sweep)")
    add_runs(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints every trial, the picked one, and what picking by the raw score would have cost."""
    from chexalign.cli.carry_out import hold, one_process_only
    from chexalign.sweep.search import need_optuna
    from chexalign.sweep.stage import SUMMARY, carry_out
    from chexalign.sweep.text import as_text
    from chexalign.train.launch import n_processes

    if n_processes() > 1:
        raise one_process_only()
    need_optuna()
    sweep = _checked(args)

    def work(workflow: Any) -> None:
        found = carry_out(sweep, workflow.run)
        print(json.dumps(found, indent=2, ensure_ascii=False) if args.json else as_text(found))
        print(f"written to {sweep.folder(workflow.run) / SUMMARY}", file=sys.stderr)

    hold(sweep.chosen.base, args.runs, work)
    return 0


def _checked(args: argparse.Namespace) -> Sweep:
    """The sweep, after all that can be known to be wrong with it, each of its trials included."""
    from chexalign.cli.checks import check_names
    from chexalign.cli.hardware import check_hardware
    from chexalign.recipe.load import load_recipe
    from chexalign.sweep.stage import Sweep
    from chexalign.sweep.trials import arm_of, choose

    if args.workers < 1 or not set(args.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") or args.name == "trials":
        raise UserError(
            f"--workers {args.workers} --name {args.name}",
            "There is at least one worker, and a name has lower-case letters, digits, _ and -, and is not trials.",
            "Write for example --workers 2 --name beta",
        )
    space, option = _space(args)
    base = load_recipe(args.recipe, args.set)
    check_names(base)
    chosen = choose(base, args.arm, args.select)
    make_arm = functools.partial(arm_of, args.recipe, tuple(args.set), chosen, option=option)
    sweep = Sweep(chosen, space, args.tpe or 0, make_arm, args.name, args.workers)
    seen: dict[str, dict[str, str]] = {}
    for values in _samples(space):
        name, recipe = chosen.trial(make_arm(values))
        check_names(recipe)
        check_hardware(recipe)
        if seen.setdefault(name, values) is not values:
            raise UserError(
                f"{option} {values}", f"It is the same trial as {seen[name]}.", "Leave one of the two values out."
            )
    _warn(base)
    return sweep


def _space(args: argparse.Namespace) -> tuple[Grid | dict[str, Range], str]:
    """What is searched, and the option that says so."""
    from chexalign.sweep.space import parse_grid, parse_ranges, read_grid

    asked = {
        "--grid": bool(args.grid),
        "--grid-file": args.grid_file is not None,
        "--tpe with --range": args.tpe is not None or bool(args.range),
    }
    if sum(asked.values()) != 1:
        given = " and ".join(option for option, is_given in asked.items() if is_given)
        raise UserError(
            f"chexalign sweep was given {given or 'nothing to search'}.",
            f"A sweep takes one of: {', '.join(asked)}.",
            "Write for example --grid train.beta=0.01,0.05,0.1",
        )
    if args.grid:
        return parse_grid(args.grid), "--grid"
    if args.grid_file is not None:
        return read_grid(_grid_file(args.grid_file)), "--grid-file"
    if not args.range or not args.tpe or args.tpe < 1:
        raise UserError(
            "--tpe and --range go together.",
            "TPE draws N trials from ranges of numbers.",
            "Write for example --tpe 20 --range train.beta=0.01..0.5:log",
        )
    return parse_ranges(args.range), "--range"


def _grid_file(path: Path) -> Path:
    """The file, or the built-in grid of that name, such as grids/dpo."""
    from chexalign.recipe.load import find_recipe

    try:
        return find_recipe(path)
    except UserError:  # which speaks of recipes; the reader of grids says what it needs
        return path


def _samples(space: Grid | dict[str, Range]) -> list[dict[str, str]]:
    """Values to check before anything is spent: all of a grid, the bounds of ranges."""
    from chexalign.sweep.space import Range, expand

    ranges = {key: range_ for key, range_ in space.items() if isinstance(range_, Range)}
    if not ranges:
        return expand({key: values for key, values in space.items() if isinstance(values, tuple)})
    return [{key: _number(getattr(r, bound), r) for key, r in ranges.items()} for bound in ("low", "high")]


def _number(value: float, range_: Range) -> str:
    return str(int(value)) if range_.whole else repr(value)


def _warn(base: Recipe) -> None:
    """Says on stderr what the choice of a trial does not see."""
    if base.data.split["validation"] < 100:
        n = base.data.split["validation"]
        print(f"warning: the trials are compared on {n} studies; differences will be mostly chance", file=sys.stderr)
