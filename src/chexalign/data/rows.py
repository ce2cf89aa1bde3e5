"""Rows of a table whatever its format: CSV, TSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chexalign.data.table_trouble import content_said
from chexalign.errors import UserError

FORMATS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")

_DAMAGED = (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)
_ROWS_AT_ONCE = 4096


def read_rows(path: Path) -> Iterator[dict[str, Any] | None]:
    """The rows of a table by column, and None for a line that is no row; a short row has fewer columns.

    Raises: UserError for another format, or a file that is damaged or no UTF-8 text.
    """
    ending = next((ending for ending in FORMATS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise UserError(
            f"data.root is {path}, which is no table that can be read.",
            f"Known by their endings are: {', '.join(FORMATS)}.",
            "Write the table in one of these formats, or name another dataset in data.source.",
        )
    try:
        if ending == ".parquet":
            yield from _parquet(path)
        elif ending.startswith(".jsonl"):
            yield from _json_lines(path)
        else:
            yield from _separated(path, "\t" if ending.startswith(".tsv") else ",")
    except _DAMAGED as e:
        raise UserError(
            f"{path} cannot be read ({type(e).__name__}).",
            "It is missing, cut short, damaged, or no UTF-8 text.",
            f"Give data.root the path of a whole file.{content_said(path)}",
        ) from e


def _text(path: Path) -> Any:
    opened = gzip.open if path.suffix == ".gz" else open
    return opened(path, "rt", encoding="utf-8-sig", newline="")


def _separated(path: Path, delimiter: str) -> Iterator[dict[str, Any] | None]:
    with _text(path) as f:
        rows = csv.reader(f, delimiter=delimiter)
        header = [name.strip() for name in next(rows, [])]
        for row in rows:
            if row:
                yield dict(zip(header, row, strict=False)) if len(row) <= len(header) else None


def _json_lines(path: Path) -> Iterator[dict[str, Any] | None]:
    with _text(path) as f:
        for line in f:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError):
                row = None
            yield row if isinstance(row, dict) else None


def _parquet(path: Path) -> Iterator[dict[str, Any] | None]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(_ROWS_AT_ONCE):
                yield from batch.to_pylist()
    except pa.ArrowException as e:
        raise OSError(str(type(e))) from e
