"""What models are called in the versions of judges: by their names, and by what is in their files."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from chexalign import ids

_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt")


def checkpoint_digest(folder: Path) -> str:
    """Eight hex digits that name weights, configuration and tokenizer of a model in a folder."""
    files = sorted({path for pattern in _FILES for path in folder.glob(pattern) if path.is_file()})
    return ids.digest([(path.name, file_digest(path)) for path in files], length=8)


def file_digest(path: Path) -> str:
    """SHA-256 of a file of weights, read once in a process as long as size and time are the same."""
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns)


@cache
def _file_digest(path: Path, size: int, modified_ns: int) -> str:
    return ids.file_sha256(path)


def slug(model: str) -> str:
    """A model's name as it stands in a version: without its owner, and without what parts names."""
    return re.sub(r"[^\w.]+", "-", model.rpartition("/")[2]).strip("-") or "model"
