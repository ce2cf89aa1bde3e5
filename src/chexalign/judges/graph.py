"""What a text says as a graph: entities with their types, and how they are related; and how far two graphs agree."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

Entity = tuple[str, str]  # words, type
Relation = tuple[str, str, str]  # words it starts from, words it leads to, type


@dataclass(frozen=True, slots=True)
class Graph:
    """The entities and relations of one text, each once."""

    entities: frozenset[Entity] = frozenset()
    relations: frozenset[Relation] = frozenset()


class GraphMaker(Protocol):
    """Reads texts as graphs."""

    @property
    def version(self) -> str:
        """Names what reads them, down to what changes a graph."""
        ...

    def graphs(self, texts: Sequence[str]) -> list[Graph | str]:
        """For each text, in order, its graph, or as a text why there is none."""
        ...

    def close(self) -> None:
        """Lets go of what it holds."""
        ...


def jaccard(one: AbstractSet[object], other: AbstractSet[object]) -> float:
    """The share of what is in either set that is in both; 1 where both are empty.

    >>> jaccard({"edema", "mass"}, {"mass"}), jaccard(set(), set()), jaccard({"mass"}, set())
    (0.5, 1.0, 0.0)
    """
    union = len(one | other)
    return len(one & other) / union if union else 1.0
