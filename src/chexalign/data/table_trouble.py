"""What is wrong with a file that should be a table, as far as its first bytes tell."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", ",": "commas"}
_LOOKED_AT = 65_536
_GZIP_WBITS = 31  # what zlib calls the format of gzip
_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip (as Excel files are, too)", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def delimiter_said(header: Sequence[str]) -> str:
    """What a header that was not split into columns seems to be split by, as a sentence; empty where it was split."""
    if len(header) != 1:
        return ""
    counts = {name: header[0].count(mark) for mark, name in _DELIMITERS.items()}
    likely = max(counts, key=lambda name: counts[name])
    return f" It seems to be split by {likely}." if counts[likely] else ""


def content_said(path: Path) -> str:
    """What a file that cannot be read seems to be, as a sentence; empty where its first bytes tell nothing."""
    start = _start(path)
    packed = next((name for mark, name in _PACKED.items() if start.startswith(mark)), None)
    if packed is not None:
        return f" It is packed with {packed}: unpack it, or give it the name that goes with it."
    if start.startswith(_UTF_16) or start[1:2] == b"\0":
        return " It seems to be UTF-16 text, as some spreadsheets save it: save it as UTF-8."
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return " It is a web page, as a download without a login gives."
    try:
        start[: _LOOKED_AT // 2].decode()
    except UnicodeDecodeError as e:
        if e.end < len(start[: _LOOKED_AT // 2]):  # else it is a letter that was cut in two
            return " It seems to be text in another encoding, perhaps Windows-1252: save it as UTF-8."
    return ""


def _start(path: Path) -> bytes:
    """The first bytes, unpacked where name and content say that they are packed; none where they cannot be read."""
    try:
        with path.open("rb") as f:
            start = f.read(_LOOKED_AT)
        if path.suffix != ".gz" or not start.startswith(b"\x1f\x8b"):
            return start
        return zlib.decompressobj(wbits=_GZIP_WBITS).decompress(start, _LOOKED_AT)
    except (OSError, zlib.error):
        return b""
