"""`chexalign data stats`: what prepared tables hold, as counts and as a page."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chexalign.cli.data_check import folder_of
from chexalign.cli.options import add_json, add_runs, add_set, print_rows

HELP = """Prints counts by split, views, sizes, lengths in words, labels, codes, and questions with their answers.

With --out it writes them as one page with plots and sample images. The page holds patient data: it says so and is
readable by its owner only."""
EXAMPLE = "chexalign data stats prepared/mimic --out mimic.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FOLDER or RECIPE, --out."""
    parser.add_argument("target", metavar="FOLDER", help="a folder of tables, or the recipe of a run")
    parser.add_argument("--out", metavar="PAGE", type=Path, help="write a page with plots and sample images")
    add_set(parser)
    add_runs(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the statistics of every table."""
    from chexalign.audit.describe import describe
    from chexalign.audit.summary import summary
    from chexalign.audit.tables import open_prepared

    prepared = open_prepared(folder_of(args))
    found = describe(prepared)
    tables = summary(found)
    if args.out is not None:
        from chexalign.present.data_page import write_page

        write_page(prepared, found, args.out)
        print(f"{args.out} holds patient data: share it only as its license allows.", file=sys.stderr)
    if args.json:
        print(json.dumps(tables, indent=2, ensure_ascii=False))
        return 0
    for name, table in tables.items():
        for title, rows in _blocks(table):
            print(f"{name}: {title}")
            print_rows(rows, as_json=False)
            print()
    return 0


def _blocks(table: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Titled tables for a terminal; those without rows are left out."""
    splits = list(table["splits"])
    yield (
        "splits",
        [
            {
                "split": split,
                **counts,
                "rows_per_patient": "median {median}, max {max}".format(**counts["rows_per_patient"]),
            }
            for split, counts in table["splits"].items()
        ],
    )
    yield "views (images)", [{"view": view, **_of(splits, counts)} for view, counts in table["views"].items()]
    yield "sizes", [{"px": side, **bounds} for side, bounds in table["image_px"].items() if bounds["max"]]
    if "labels" in table:
        yield from _of_studies(table, splits)
    if "parts" in table:
        yield (
            "parts (questions)",
            [
                {
                    "task": part["task"],
                    "part": part["part"],
                    "answer": part["answer_type"],
                    **_of(splits, part["questions"]),
                    "answers": ", ".join(
                        f"{answer} {share:.0%}" for answer, share in list(part["answers"].items())[:4]
                    ),
                }
                for part in table["parts"]
            ],
        )
    if table["dropped"]:
        yield "left out", [{"reason": reason, "rows": n} for reason, n in table["dropped"].items()]


def _of_studies(table: Mapping[str, Any], splits: list[str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    yield (
        "words, median (95th percentile)",
        [
            {"section": section, **{s: "{median} ({p95})".format(**of[s]) if of[s]["n"] else "" for s in splits}}
            for section, of in table["words"].items()
        ],
    )
    yield (
        "labels of the references, share of studies",
        [
            {"label": label, **{split: f"{shares[split]:.1%}" for split in splits}}
            for label, shares in table["labels"].items()
        ],
    )
    if table["codes"]:
        yield (
            f"codes, share of studies (first of {table['distinct_codes']:,})",
            [{"code": code, "studies": f"{share:.1%}"} for code, share in list(table["codes"].items())[:10]],
        )
    yield "vocabulary of the references", [{"distinct words": table["vocabulary"]["words"], **_once(table)}]


def _once(table: Mapping[str, Any]) -> dict[str, int]:
    return {"written once": table["vocabulary"]["once"]}


def _of(splits: list[str], counts: Mapping[str, int]) -> dict[str, int]:
    return {split: counts.get(split, 0) for split in splits}
