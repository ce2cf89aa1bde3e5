"""Graphs by RadGraph, which runs in a Python environment of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from chexalign.engines.child import Child
from chexalign.judges.graph import Graph

_SCRIPT = Path(__file__).with_name("children") / "radgraph_graphs.py"


class RadGraphGraphs:
    """A `GraphMaker` that asks the package radgraph, started with the first question; see `engines.child.Child`."""

    def __init__(self, python: str, *, model_type: str, **limits: Any) -> None:
        """Nothing is started yet; `limits` are `batch_size`, `start_timeout_s` and `timeout_s`."""
        self._child = Child(python, _SCRIPT, options={"model_type": model_type}, **limits)

    @cached_property
    def version(self) -> str:
        """The versions of the package and of its model; asking for it starts the script."""
        return self._child.hello.version

    def graphs(self, texts: Sequence[str]) -> list[Graph | str]:
        """For each text its graph, or why there is none; a text without words has an empty one and is not sent.

        Raises: UserError when the script does not start, or ends again and again.
        """
        asked = list(dict.fromkeys(text for text in texts if text.strip()))
        known: dict[str, Graph | str] = dict(
            zip(asked, map(_graph, self._child.ask([{"text": t} for t in asked])), strict=True)
        )
        return [known.get(text, Graph()) for text in texts]

    def close(self) -> None:
        """Ends the script."""
        self._child.close()


def _graph(row: dict[str, Any] | str) -> Graph | str:
    """What a row of the script's answer says."""
    if isinstance(row, str):
        return row
    try:
        entities = frozenset((str(words), str(kind)) for words, kind in row["entities"])
        relations = frozenset((str(one), str(other), str(kind)) for one, other, kind in row["relations"])
    except (KeyError, TypeError, ValueError):
        return "the script gave no graph"
    return Graph(entities, relations)
