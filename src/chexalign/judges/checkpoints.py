"""What models are called in the versions of judges: by their names, and by what is in their files."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from chexalign import ids

_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt")
_LENGTH = 8


def checkpoint_digest(folder: Path) -> str:
    """Eight hex digits that name weights, configuration and tokenizer of a model in a folder.

    All of its files are read, once in a process as long as they look unchanged (sizes and times).
    """
    files = [(path, path.stat()) for pattern in _FILES for path in folder.glob(pattern) if path.is_file()]
    return _digest(folder, frozenset((path.name, stat.st_size, stat.st_mtime_ns) for path, stat in files))


@cache
def _digest(folder: Path, look: frozenset[tuple[str, int, int]]) -> str:
    return ids.folder_digest(folder, _FILES)[:_LENGTH]


def slug(model: str) -> str:
    """A model's name as it stands in a version: without its owner, and without what parts names."""
    return re.sub(r"[^\w.]+", "-", model.rpartition("/")[2]).strip("-") or "model"
