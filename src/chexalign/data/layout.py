"""Files of a collection in its official layout: where they are, and what to say when they are not."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from chexalign.errors import UserError

_DAMAGED = (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)
_SHOWN = 5


def need_root(root: Path | None, source: str, holds: str) -> Path:
    """The folder of a collection.

    Raises: UserError when none is named, or there is none of that name.
    """
    if root is not None and root.is_dir():
        return root
    what = "data.root is missing." if root is None else f"data.root is {root}, which is not a folder."
    raise UserError(
        what, f"The dataset {source} is read from a folder that holds {holds}.", "Give data.root that folder."
    )


def find_file(folders: Sequence[Path], names: Sequence[str], source: str) -> Path:
    """The first of the named files that one of the folders has.

    Raises: UserError that names what was looked for and what is there.
    """
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise not_there(folders[0], " or ".join(names), source)


def not_there(folder: Path, looked_for: str, source: str) -> UserError:
    """The error for a part of a collection that is not where its official layout has it."""
    there = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir()) if folder.is_dir() else []
    shown = ", ".join(there[:_SHOWN]) + (f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else "")
    return UserError(
        f"{folder} has no {looked_for}.",
        f"The dataset {source} is read as its owner ships it, and that is part of it. There is: {shown or 'nothing'}.",
        "Give data.root the folder that holds it; docs/data.md shows the expected files of each dataset.",
    )


def read_columns(path: Path, columns: Sequence[str], source: str) -> Iterator[tuple[str, ...]]:
    """The values of two or more columns of a CSV file, packed with gzip or not, row by row.

    A row that is too short is filled with "".
    Raises: UserError when a column is not there, or the file is damaged or no UTF-8 text.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as f:
            rows = csv.reader(f)
            header = [name.strip() for name in next(rows, [])]
            if missing := [name for name in columns if name not in header]:
                raise UserError(
                    f"{path} has no column {missing[0]}.",
                    f"The dataset {source} needs it; the columns are: {', '.join(header[:20]) or 'none'}.",
                    "Use the file as its owner ships it, with commas between its columns.",
                )
            at = [header.index(name) for name in columns]
            width, wanted = max(at) + 1, itemgetter(*at)
            for row in rows:
                if len(row) < width:
                    row += [""] * (width - len(row))
                yield wanted(row)
    except _DAMAGED as e:
        raise UserError(
            f"{path} cannot be read ({type(e).__name__}).",
            "It is cut short, damaged, or no table in UTF-8 text.",
            "Download the file again.",
        ) from e
