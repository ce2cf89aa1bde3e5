"""`chexalign compare`: finished runs side by side, as the tables of the CheXalign paper."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chexalign.cli.options import add_json, print_rows
from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.compare.comparison import Comparison

HELP = """Sets finished runs side by side: Tables 1, 3 to 6 and 8 to 11 of the CheXalign paper, and Figure 3.

Without --to, Markdown is printed, or the one --format that is named. What is written holds no report text; it is
readable by its owner only all the same."""
EXAMPLE = "chexalign compare runs/demo --quoted paper --to comparison"

FORMATS = {"html": "compare.html", "md": "compare.md", "latex": "compare.tex", "csv": "compare.csv"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN_FOLDER, --to, --format, --quoted, --same-studies, --json."""
    parser.add_argument("runs", metavar="RUN_FOLDER", nargs="+", type=Path, help="the folder of a finished run")
    parser.add_argument("--to", metavar="DIR", type=Path, help="folder for the files")
    parser.add_argument("--format", metavar="F,F", help=f"which of {','.join(FORMATS)}; all of them with --to, else md")
    parser.add_argument(
        "--quoted", metavar="FILE", help="published numbers to stand beside: a YAML file, or `paper` for CheXalign's"
    )
    parser.add_argument(
        "--same-studies", action="store_true", help="refuse runs of different studies instead of taking what all share"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the tables, or where the files are; with --json every number as it is in the CSV."""
    formats = _formats(args.format, to_files=args.to is not None)
    from chexalign.compare.comparison import compare_runs
    from chexalign.compare.long_form import rows
    from chexalign.compare.quoted import read_quoted

    quoted = read_quoted(args.quoted)
    found = compare_runs(args.runs, quoted=quoted, same_studies=args.same_studies)
    if args.json:
        print_rows(list(rows(found)), as_json=True)
    if args.to is not None:
        _write(found, formats, args.to, quiet=args.json)
    elif not args.json:
        sys.stdout.write(_writers()[formats[0]](found))
    return 0


def _formats(given: str | None, *, to_files: bool) -> list[str]:
    if given is None:
        return list(FORMATS) if to_files else ["md"]
    names = list(dict.fromkeys(name.strip() for name in given.split(",")))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or (len(names) > 1 and not to_files):
        raise UserError(
            f"--format {given}",
            f"The formats are {', '.join(FORMATS)}." if unknown else "Only one format can be printed.",
            "Name one of them, or several with commas between them and --to DIR.",
        )
    return names


def _write(found: Comparison, formats: Sequence[str], folder: Path, *, quiet: bool) -> None:
    from chexalign import atomic

    writers = _writers()
    texts = {folder / FORMATS[name]: writers[name](found) for name in formats}  # all, before any is written
    for path, text in texts.items():
        atomic.write_text(path, text)
        if not quiet:
            print(path)


def _writers() -> Mapping[str, Callable[[Comparison], str]]:
    from chexalign.compare.latex import latex
    from chexalign.compare.long_form import long_form
    from chexalign.compare.markdown import markdown
    from chexalign.compare.page import page

    return {"html": page, "md": markdown, "latex": latex, "csv": long_form}
