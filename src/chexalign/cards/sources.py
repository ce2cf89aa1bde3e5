"""Footnotes that say which file, and which key in it, a figure of a card is from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class Sources:
    """The footnotes of one card, in the order in which they are first needed."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def note(self, file: str, key: str) -> str:
        """`[^3]`, the footnote that names a key of a file of the folder; the same one for the same key."""
        where = f"`{file}`: {key}"
        return f"[^{self._numbers.setdefault(where, len(self._numbers) + 1)}]"

    def lines(self) -> list[str]:
        """The footnotes as Markdown."""
        return [f"[^{number}]: {where}" for where, number in self._numbers.items()]


def section(title: str, lines: Iterable[str]) -> list[str]:
    """A titled section with its blank lines."""
    return [f"## {title}", "", *lines, ""]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; cells are escaped by whoever makes them."""
    marks = "|" + "---|" * len(head)
    return [f"| {' | '.join(head)} |", marks, *(f"| {' | '.join(row)} |" for row in rows)]


def plain(text: str) -> str:
    """Text that breaks no table and opens no tag."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def told(blocks: Any, *, hidden: Sequence[str] = ("root", "images", "archive")) -> str:
    """A manifest's blocks as JSON, without the folders that they name on the machine where they were made."""
    return plain(json.dumps(_without(blocks, hidden), ensure_ascii=False))


def _without(value: Any, hidden: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(found, hidden) for key, found in value.items() if key not in hidden}
    return [_without(one, hidden) for one in value] if isinstance(value, list | tuple) else value
