"""One lazy registry over entry points: built-ins and plugins use the same door."""

from __future__ import annotations

import difflib
import importlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args

from chexalign.errors import UserError

Kind = Literal["datasets", "questions", "policies", "judges", "losses", "pair_rules"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_PACKAGE = "chexalign"
_PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered name, and where its class is: `target` is "module:attribute"."""

    kind: Kind
    name: str
    target: str
    distribution: str


class Registry:
    """The classes of one kind, by name; a module is imported when its class is first asked for."""

    def __init__(self, kind: Kind, entries: Iterable[Entry] | None = None) -> None:
        self.kind: Kind = kind
        found = _installed(kind) if entries is None else entries
        self._entries = tuple(sorted(set(found), key=lambda entry: (entry.name, entry.distribution)))

    def entries(self) -> tuple[Entry, ...]:
        """Every entry, sorted by name; nothing is imported."""
        return self._entries

    def names(self) -> list[str]:
        """The registered names, sorted."""
        return sorted({entry.name for entry in self._entries})

    def entry(self, name: str) -> Entry:
        """The entry of that name.

        Raises: UserError when nothing has the name (it names the nearest), or two packages claim it.
        """
        claims = [entry for entry in self._entries if entry.name == name]
        if not claims:
            raise self._unknown(name)
        if len(claims) > 1:
            packages = ", ".join(entry.distribution for entry in claims)
            raise UserError(
                f"{self._noun} {name!r} is claimed by several packages: {packages}",
                "one name must mean one thing, or a result could not be repeated",
                "uninstall all but one of them, or ask their authors for another name",
            )
        return claims[0]

    def get(self, name: str) -> Any:
        """The class registered under the name, imported now.

        Raises: UserError when the name is unknown, or the package behind it cannot be imported.
        """
        entry = self.entry(name)
        module, _, attribute = entry.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:  # a plugin's import may fail in any way
            raise UserError(
                f"{self._noun} {name!r} of the package {entry.distribution!r} cannot be loaded from {entry.target}",
                f"{type(error).__name__}: {error}",
                f"reinstall or update {entry.distribution!r}; `chexalign list {self.kind}` shows the others",
            ) from error

    @property
    def _noun(self) -> str:
        return {"policies": "policy", "losses": "loss"}.get(self.kind, self.kind[:-1].replace("_", " "))

    def _unknown(self, name: str) -> UserError:
        near = difflib.get_close_matches(name, self.names(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return UserError(
            f"there is no {self._noun} {name!r}",
            f"the names are: {', '.join(self.names()) or 'none'}",
            f"{hint}`chexalign list {self.kind}` shows every one; a plugin must be installed to be found",
        )


@cache
def registry(kind: Kind) -> Registry:
    """The registry of a kind, read once in a process."""
    return Registry(kind)


def _installed(kind: Kind) -> list[Entry]:
    """The entries of every installed package; ours come from pyproject.toml where this is a source tree.

    An editable install keeps the entry points of the day it was made, so its metadata can be stale.
    """
    group = f"{_PACKAGE}.{kind}"
    own = _source_tree(group)
    entries = [Entry(kind, name, target, _PACKAGE) for name, target in (own or {}).items()]
    for point in metadata.entry_points(group=group):
        distribution = point.dist.name if point.dist else "unknown"
        if own is None or distribution != _PACKAGE:
            entries.append(Entry(kind, point.name, point.value, distribution))
    return entries


def _source_tree(group: str) -> dict[str, str] | None:
    """The entry points that our pyproject.toml declares, or None where the package is not in its source tree."""
    if not _PYPROJECT.is_file():
        return None
    project = tomllib.loads(_PYPROJECT.read_text(encoding="utf-8")).get("project", {})
    if project.get("name") != _PACKAGE:
        return None
    return dict(project.get("entry-points", {}).get(group, {}))
