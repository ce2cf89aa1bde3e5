"""Write the golden F1 numbers with the package that defines them: classification_report of scikit-learn.

    pip install scikit-learn==1.9.1
    python bench/golden_stats.py

Writes tests/golden/stats/classification_report.json: label tables of a few kinds, drawn with fixed seeds, and what
scikit-learn says of them. Tests read the JSON file only.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np

from chexalign.ids import digest

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "stats" / "classification_report.json"
LABELS = [f"label {i:02d}" for i in range(14)]
FIVE = [LABELS[i] for i in (1, 3, 4, 8, 12)]
N = 60
# Labels that no row is true for, and labels that no row is called.
CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "every label true and called": ((), ()),
    "two labels never true": ((2, 4), ()),
    "two labels never called": ((), (3, 5)),
    "one label neither true nor called": ((8,), (8,)),
}


def tables(seed: int, never_true: tuple[int, ...], never_called: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.random((N, len(LABELS))) < 0.25
    called = np.where(rng.random(true.shape) < 0.2, ~true, true)
    true[0], called[1] = True, True
    true[:, never_true], called[:, never_called] = False, False
    return [true.astype(int), called.astype(int)]


def report(true: np.ndarray, called: np.ndarray, names: list[str]) -> dict[str, dict[str, float]]:
    from sklearn.metrics import classification_report

    columns = [LABELS.index(name) for name in names]
    found = classification_report(
        true[:, columns], called[:, columns], target_names=names, output_dict=True, zero_division=0
    )
    return {
        name: {"f1": v["f1-score"], "precision": v["precision"], "recall": v["recall"]} for name, v in found.items()
    }


def case(seed: int, never_true: tuple[int, ...], never_called: tuple[int, ...]) -> dict[str, Any]:
    true, called = tables(seed, never_true, never_called)
    inputs = {"true": rows(true), "called": rows(called)}
    values = {"14": report(true, called, LABELS), "5": report(true, called, FIVE)}
    return {**inputs, "inputs_digest": digest(inputs), "values": values}


def rows(table: np.ndarray) -> list[str]:
    return ["".join(map(str, row)) for row in table.tolist()]


def main() -> None:
    """Write the file."""
    golden = {
        "peer": f"scikit-learn {importlib.metadata.version('scikit-learn')}",
        "call": "classification_report(true, called, output_dict=True, zero_division=0)",
        "made_by": "bench/golden_stats.py",
        "differs": "scikit-learn counts an undefined measure as 0 in macro averages; chexalign leaves it out",
        "labels": LABELS,
        "five": FIVE,
        "cases": {name: case(seed, *never) for seed, (name, never) in enumerate(CASES.items())},
    }
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"{len(CASES)} cases, {golden['peer']}")


if __name__ == "__main__":
    main()
