"""Content hashes and keyed seeds: the same input has the same name on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def digest(*parts: object, length: int = 16) -> str:
    """A hex digest of the parts; equal parts (by JSON, keys sorted) give an equal digest.

    Example: `digest("a", 1) == digest("a", 1)` and `digest("a", 1) != digest("a1")`.
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def bytes_sha256(data: bytes) -> str:
    """SHA-256 of the bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex, read in blocks of 1 MiB."""
    h = hashlib.sha256()
    with path.open("rb") as f:
        while block := f.read(_CHUNK_BYTES):
            h.update(block)
    return h.hexdigest()


def folder_digest(folder: Path, patterns: Iterable[str] = ("*",)) -> str:
    """A digest over names and bytes of the files in a folder that match, e.g. a model's weights."""
    files = sorted({p for pattern in patterns for p in folder.glob(pattern) if p.is_file()})
    return digest([(p.name, file_sha256(p)) for p in files])


def keyed_seed(*parts: object) -> int:
    """A 63-bit seed that depends on the parts alone, never on the order in which work is done."""
    return int.from_bytes(hashlib.sha256(digest(*parts, length=64).encode()).digest()[:8], "big") >> 1
