"""What a table of one's own says of each study: its columns, its rows, and the rows that are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chexalign.data.images import view_of
from chexalign.data.layout import inside
from chexalign.data.rows import read_rows
from chexalign.data.table_trouble import delimiter_said
from chexalign.errors import UserError
from chexalign.recipe import ColumnsSpec
from chexalign.types import View

_NEEDED = ("id", "patient", "images", "findings")
_EMPTY = ("", "nan", "none", "null", "n/a")


@dataclass(slots=True)
class TableRow:
    """What the table says of one study."""

    patient: str
    findings: str
    indication: str | None
    impression: str | None
    split: str | None
    images: list[tuple[str, View]] = field(default_factory=list)


def read_studies(path: Path, columns: ColumnsSpec, base: Path) -> tuple[dict[str, TableRow], Counter[str]]:
    """The studies of a table file; see `studies_of`.

    Raises: UserError when the table cannot be read, or lacks a column.
    """
    return studies_of(read_rows(path), columns, path, base)


def studies_of(
    lines: Iterable[dict[str, Any] | None], columns: ColumnsSpec, path: Path, base: Path
) -> tuple[dict[str, TableRow], Counter[str]]:
    """The studies by id, and why rows were left out; relative paths of images start at `base`.

    The rows of one id must tell the same text, and each adds its images. A relative path that leads out of `base` is
    kept as an empty one. `path` is what errors name.
    Raises: UserError when a column is lacking.
    """
    found: dict[str, TableRow] = {}
    dropped = Counter[str]()
    for line in _checked(lines, columns, path):
        made = _row(line, columns, base) if line is not None else None
        if made is None:
            dropped["malformed_row"] += 1
            continue
        i, row = made
        first = found.setdefault(i, row)
        if first is row:
            continue
        if (first.patient, first.findings, first.split) == (row.patient, row.findings, row.split):
            first.images += row.images
        else:
            dropped["id_of_another_study"] += 1
    return found, dropped


def _checked(
    lines: Iterable[dict[str, Any] | None], columns: ColumnsSpec, path: Path
) -> Iterator[dict[str, Any] | None]:
    """The lines; the first row shows which columns there are."""
    seen = False
    for line in lines:
        if line is not None and not seen:
            seen = True
            _need_columns(line, columns, path)
            _need_paths(line.get(columns.images), path)
        yield line


def _need_columns(row: Mapping[str, Any], columns: ColumnsSpec, path: Path) -> None:
    default = ColumnsSpec()
    for name in type(default).model_fields:
        column = getattr(columns, name)
        if column not in row and (name in _NEEDED or column != getattr(default, name)):
            raise UserError(
                f"{path} has no column {column!r}.",
                f"It is to hold each study's {name}; the columns are: {', '.join(map(str, list(row)[:20]))}.",
                f"Name the right one, e.g. --set data.columns.{name}=COLUMN. Split the table by commas if it is a "
                "CSV; where each study has a patient of its own, name the id's column for patient too."
                + delimiter_said([str(column) for column in row]),
            )


def _need_paths(cell: Any, path: Path) -> None:
    """Refuses a table with images inside, which a Parquet file can hold."""
    first = cell[0] if isinstance(cell, list) and cell else cell
    if isinstance(first, dict | bytes):
        raise UserError(
            f"{path} holds the images themselves.",
            "Paths of image files are read from that column, or images as Hugging Face datasets hold them.",
            "For those, a struct of bytes and path, set data.source to hf-disk and data.root to the file's folder.",
        )


def _row(line: Mapping[str, Any], columns: ColumnsSpec, base: Path) -> tuple[str, TableRow] | None:
    """The id and the study of a row, or None where it has none."""
    value = {name: line.get(getattr(columns, name)) for name in ColumnsSpec.model_fields}
    i, patient, findings = _one_line(value["id"]), _one_line(value["patient"]), value["findings"]
    if i is None or patient is None or not isinstance(findings, str | float | None):
        return None
    paths, views = _listed(value["images"]), _listed(value["view"])
    views += [views[0] if len(views) == 1 else ""] * (len(paths) - len(views))
    images = [(_inside(base, path), view_of(view)) for path, view in zip(paths, views, strict=False)]
    split = _one_line(value["split"])
    row = TableRow(
        patient=patient,
        findings=_one_line(findings) or "",
        indication=_one_line(value["indication"]),
        impression=_one_line(value["impression"]),
        split=split.lower() if split else None,
        images=images,
    )
    return i, row


def _one_line(value: Any) -> str | None:
    """A cell as text on one line; None where it is empty."""
    text = "" if value is None else " ".join(str(value).split())
    return None if text.lower() in _EMPTY else text


def _listed(value: Any) -> list[str]:
    """A cell that holds one text or several."""
    cells = value if isinstance(value, list | tuple) else str(value or "").split("|")
    return [text for cell in cells if (text := str(cell).strip()) and text.lower() not in _EMPTY]


def _inside(base: Path, path: str) -> str:
    """The path of an image; empty for a relative one that leads out of its folder."""
    if Path(path).is_absolute():
        return path
    found = inside(base, path)
    return "" if found is None else str(found)
