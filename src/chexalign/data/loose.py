"""JSON files that nobody checked: read without much memory, their values taken only where they are what they seem."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from chexalign.data.layout import inside as inside
from chexalign.errors import UserError

_BLOCK_CHARS = 1 << 20
_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"(\d{1,18})(?:\.0)?")


def read_json(path: Path, source: str) -> Any:
    """All that a JSON file holds. Cost: the memory of its values, several times the size of the file.

    Raises: UserError when it is damaged or no JSON.
    """
    try:
        with path.open(encoding="utf-8-sig") as f:
            return json.load(f)
    except (OSError, ValueError, RecursionError) as e:
        raise _damaged(path, source, e) from e


def json_rows(path: Path, source: str) -> Iterator[Any]:
    """The values of a list, one after the other, without the whole file in memory.

    Raises: UserError when the file is damaged, or holds no list.
    """
    decode = json.JSONDecoder().raw_decode
    try:
        with path.open(encoding="utf-8-sig") as f:
            text = f.read(_BLOCK_CHARS).lstrip()
            if not text.startswith("["):
                raise ValueError("no list")
            at, more = 1, True
            while True:
                at = _end(_SPACE, text, at)
                if text[at : at + 1] == "]":
                    return
                try:
                    value, end = decode(text, at)
                    end = _end(_SPACE, text, end)
                    if end == len(text) and more:  # a number may go on in the next block
                        raise ValueError("cut")
                    if text[end : end + 1] not in (",", "]"):
                        raise _Torn
                except ValueError:
                    text, at, more = _longer(text, at, f, more)
                    continue
                yield value
                at = end + (text[end] == ",")
    except (OSError, ValueError, RecursionError, _Torn) as e:
        raise _damaged(path, source, e) from e


class _Torn(Exception):  # noqa: N818 (never leaves this module)
    """Two values of a list without a comma between them."""


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _longer(text: str, at: int, f: IO[str], more: bool) -> tuple[str, int, bool]:
    """The rest of the text with as much again read to it, so that a long value is not decoded at every block."""
    if not more:
        raise ValueError("the list does not end, or holds what is no JSON")
    rest = text[at:]
    block = f.read(max(_BLOCK_CHARS, len(rest)))
    return rest + block, 0, bool(block)


def _damaged(path: Path, source: str, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be read ({type(error).__name__}).",
        f"The collection {source} has JSON in UTF-8 there; this is cut short, damaged or another file.",
        "Download the file again.",
    )


def one_line(value: Any) -> str | None:
    """A text on one line; None for an empty one, for what is no text, and for what no table can hold."""
    if not isinstance(value, str):
        return None
    text = " ".join(value.split())
    return text if text and _writable(text) else None


def texts(value: Any) -> tuple[str, ...] | None:
    """A list of texts, each on one line; None where it is no list, or one of them is no text."""
    if not isinstance(value, list):
        return None
    found = tuple(text for each in value if (text := one_line(each)) is not None)
    return found if len(found) == len(value) else None


def number(value: Any) -> str | None:
    """The digits of an id that is a whole number, written as a number or as a text, with or without ".0"."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    found = _NUMBER.fullmatch(str(value).strip())
    return found[1] if found and found[1].isascii() else None


def whole(value: Any) -> int | None:
    """A whole number, as an int or as a float without a fraction."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value == value and abs(value) < 1 << 53 and int(value) == value else None


def field(row: Any, name: str) -> Any:
    """The value of a field; None where the row is no mapping or has none of that name."""
    return row.get(name) if isinstance(row, Mapping) else None


def _writable(text: str) -> bool:
    """False for halves of surrogate pairs, which JSON can spell and no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
