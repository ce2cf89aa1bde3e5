"""Files that are whole or absent: every write of a run folder goes through here."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chexalign.errors import UserError

OWNER_ONLY_DIR = 0o700
OWNER_ONLY_FILE = 0o600
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_ENTRY = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}


@contextmanager
def explained(path: Path, *, making: bool = False) -> Iterator[None]:
    """Turns a full disk or an unwritable folder into a UserError that names the path.

    `making` a folder whose parent is there can still fail as if it were not, in a file system like /proc.
    """
    try:
        yield
    except OSError as e:
        if e.errno in _NO_SPACE:
            raise UserError(
                f"The disk that holds {path} is full.",
                "Nothing half-written was left behind: what is finished stays, the rest is missing.",
                "Free some space and run the same command again; it goes on where it stopped.",
            ) from e
        if e.errno in _NO_ENTRY or (making and e.errno == errno.ENOENT):
            raise UserError(
                f"{path} cannot be written ({os.strerror(e.errno or 0)}).",
                "A run needs a folder of its own that it may write to.",
                "Choose another place with --runs DIR, or change the folder's permissions.",
            ) from e
        raise


def make_folder(path: Path) -> Path:
    """The folder, made with its parents if missing; what is made is readable by its owner only."""
    with explained(path, making=True):
        for folder in (*reversed(path.parents), path):  # `parents=True` would leave the parents open to others
            folder.mkdir(exist_ok=True, mode=OWNER_ONLY_DIR)
    return path


def write_file(path: Path, write: Callable[[Path], None]) -> None:
    """Writes through `write(temporary path)` and then moves the file to `path` in one step.

    Raises: UserError when the disk is full or the folder cannot be written; the temporary file is gone then.
    """
    with explained(path):
        make_folder(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            _flush_to_disk(temporary)
            temporary.chmod(OWNER_ONLY_FILE)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes bytes whole or not at all."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_file(path, write)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes JSON (keys in the given order, two spaces) whole or not at all; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def remove_leftovers(folder: Path) -> None:
    """Deletes temporary files that a killed writer left in the folder."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
