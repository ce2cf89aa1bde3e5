"""The official prompt of GREEN, from the package green-score; started by judge `green` with the option `python`.

    python -m venv ENV && ENV/bin/pip install --no-deps --ignore-requires-python green-score==0.0.12

Only the module with the prompt is loaded, and what it imports besides is stood in for. So none of the package's pins
is needed, and any Python will do; an environment that holds all of them will do as well.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import types
from typing import Any

_IMPORTED = {
    "torch.distributed": [],
    "sklearn.metrics": ["silhouette_score"],
    "sklearn.cluster": ["KMeans"],
    "sklearn": ["preprocessing"],
    "sentence_transformers": ["SentenceTransformer"],
    "scipy.spatial": ["distance"],
    "numpy": [],
}


class Prompts:
    """Answers rows of texts with prompts."""

    name = "green-score"

    def __init__(self) -> None:
        self.version = importlib.metadata.version("green-score")
        self._make = _utils().make_prompt

    def score(self, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        """The official prompt about each pair of texts."""
        return [{"prompt": self._make(row["reference"], row["candidate"])} for row in rows]


def make() -> Prompts:
    """What the judge asks."""
    return Prompts()


def _utils() -> Any:
    """green_score/utils.py by itself, without the package around it."""
    package = importlib.util.find_spec("green_score")
    if package is None or package.submodule_search_locations is None:
        raise ModuleNotFoundError("No module named 'green_score'")
    for dotted, names in _IMPORTED.items():
        for imported in (dotted.partition(".")[0], dotted):
            stand_in = sys.modules.setdefault(imported, types.ModuleType(imported))
            stand_in.__path__ = []
        for name in names:
            setattr(sys.modules[dotted], name, None)
        if "." in dotted:
            setattr(sys.modules[dotted.partition(".")[0]], dotted.rpartition(".")[2], sys.modules[dotted])
    found = importlib.util.spec_from_file_location(
        "green_score_utils", package.submodule_search_locations[0] + "/utils.py"
    )
    if found is None or found.loader is None:
        raise ModuleNotFoundError("No module named 'green_score.utils'")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
