"""Files of a collection in its official layout: where they are, and what to say when they are not."""

from __future__ import annotations

import csv
import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import IO

from chexalign.data.base import DropStudyError
from chexalign.data.table_trouble import content_said, delimiter_said
from chexalign.errors import UserError

_DAMAGED = (  # RuntimeError: an archive with a password
    *(OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError),
    *(UnicodeDecodeError, csv.Error),
)
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


def inside(root: Path, name: str | Path | None) -> Path | None:
    """The path of a file under a folder by its relative name; None for one that leads out of it, or is no name at all.

    Neither `..` nor a link in the place of the file may lead out. Links in the place of folders are followed, since
    that is how trees are put together; a file that is a link must then end in the tree or below its own folder.
    There need be no such file.
    """
    if not name or "\0" in str(name) or Path(name).is_absolute():
        return None
    path = Path(os.path.normpath(root / name))
    if not path.is_relative_to(os.path.normpath(root)):
        return None
    try:
        str(path).encode()  # a table can hold it
        if not path.is_symlink():
            return path
        end = path.resolve(strict=True)
    except FileNotFoundError:  # a link to nothing
        return path
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that is none
        return None
    return path if any(end.is_relative_to(top.resolve()) for top in (root, path.parent)) else None


def kept_in(root: Path, path: Path, what: str) -> Path:
    """The path of a file below `root`, made of known parts, none of which is `..`: only a link can lead out.

    Raises: DropStudyError: "{what}_outside_the_folder".
    """
    if path.is_symlink() and inside(root, path.relative_to(root)) is None:
        raise DropStudyError(f"{what}_outside_the_folder")
    return path


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
    """The values of two or more columns of a CSV file, packed with gzip, alone in a zip archive, or not, row by row.

    A row that is too short is filled with "".
    Raises: UserError when a column is not there, or the file is damaged or no UTF-8 text.
    """
    try:
        with _text(path) as f:
            rows = csv.reader(f)
            header = [name.strip() for name in next(rows, [])]
            if missing := [name for name in columns if name not in header]:
                raise UserError(
                    f"{path} has no column {missing[0]}.",
                    f"The dataset {source} needs it; the columns are: {', '.join(header[:20]) or 'none'}.",
                    f"Use the file as its owner ships it, with commas between its columns.{delimiter_said(header)}",
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
            f"Download the file again.{content_said(path)}",
        ) from e


def _text(path: Path) -> IO[str]:
    if path.suffix != ".zip":
        return (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise zipfile.BadZipFile
        return io.TextIOWrapper(archive.open(names[0]), encoding="utf-8-sig", newline="")
