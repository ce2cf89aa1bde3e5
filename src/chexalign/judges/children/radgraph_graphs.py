"""Entities and relations of reports by RadGraph, started by judge `knowledge` with `graph: radgraph`.

    python3.10 -m venv ENV && ENV/bin/pip install radgraph==0.1.18 "transformers>=4.39,<4.50"

The package fetches its weights from a hub when its model is first made. Judges run offline, so make it there once by
yourself: `ENV/bin/python -c "import radgraph; radgraph.RadGraph(model_type='radgraph-xl')"`. Written against the
source of radgraph 0.1.18, and not run with its weights.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any


class Graphs:
    """One model of RadGraph, loaded with the first rows."""

    name = "radgraph"

    def __init__(self, model_type: str) -> None:
        self.version = importlib.metadata.version("radgraph") + "-" + model_type
        self._model_type = model_type
        self._radgraph: Any = None

    def score(self, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        """The graph of each text, in small letters."""
        if self._radgraph is None:
            from radgraph import RadGraph

            self._radgraph = RadGraph(model_type=self._model_type)
        found = self._radgraph([row["text"] for row in rows])
        return [_graph(found[str(i)]["entities"]) for i in range(len(rows))]  # one it failed on is not there


def make(model_type: str) -> Graphs:
    """What the judge asks."""
    return Graphs(model_type)


def _graph(entities: dict[str, Any]) -> dict[str, Any]:
    words = {key: " ".join(entity["tokens"].lower().split()) for key, entity in entities.items()}
    return {
        "entities": [[words[key], entity["label"].lower()] for key, entity in entities.items()],
        "relations": [
            [words[key], words[target], kind.lower()]
            for key, entity in entities.items()
            for kind, target in entity["relations"]
        ],
    }
