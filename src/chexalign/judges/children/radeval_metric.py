"""A metric of RadEval, started by the judges `radgraph`, `ratescore`, `radcliq`, `crimson` and `radeval`.

    python3.11 -m venv ENV && ENV/bin/pip install radeval==2.2.1

The metrics fetch weights from a hub when they are first used. Judges run offline, so use the metric there once by
yourself. Written against RadEval 2.2.1 and not run with it.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any


class Metric:
    """One metric; its model is loaded with the first rows."""

    def __init__(self, metric: str, key: str | None) -> None:
        self.name = "radeval-" + metric
        self.version = importlib.metadata.version("radeval")
        self._metric, self._key = metric, key
        self._radeval: Any = None

    def score(self, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        """The value is the number under `key`, with its sign turned where that begins with "-"."""
        columns = self._columns([row["reference"] for row in rows], [row["candidate"] for row in rows])
        if not columns:
            raise LookupError("the metric gives no number per report")
        key = self._key or next(iter(columns))
        sign = -1.0 if key.startswith("-") else 1.0
        values = columns[key.lstrip("-")]
        return [
            {"value": sign * values[i], "parts": {name: column[i] for name, column in columns.items()}}
            for i in range(len(rows))
        ]

    def _columns(self, references: list[str], candidates: list[str]) -> dict[str, list[float]]:
        """The metric's numbers per report, by name."""
        if self._radeval is None:
            from radeval import RadEval

            self._radeval = RadEval(metrics=[self._metric], per_sample=True, show_progress=False)
        found = self._radeval(refs=references, hyps=candidates)
        numbers = {name: _numbers(column) for name, column in found.items()}
        return {name: column for name, column in numbers.items() if len(column) == len(references)}


def _numbers(column: Any) -> list[float]:
    """A list of numbers as it is; none for anything else that a metric may give."""
    try:
        return [float(value) for value in column] if isinstance(column, list) else []
    except (TypeError, ValueError):
        return []


def make(metric: str, key: str | None = None) -> Metric:
    """The judge of that metric."""
    return Metric(metric, key)
