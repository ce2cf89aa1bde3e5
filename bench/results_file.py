"""A file of results that several scripts write figures into, each with the command and the commit it comes from."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chexalign import atomic
from time_demo import commit, machine

PACKAGES = ("torch", "transformers", "numpy", "pyarrow")


def figure(values: Sequence[float], *, unit: str, target: float | None, checked: str) -> dict[str, Any]:
    """The median of repetitions with the lowest and the highest; `checked` says what it rests on."""
    return {
        "value": round(statistics.median(values), 4),
        "low": round(min(values), 4),
        "high": round(max(values), 4),
        "n": len(values),
        "unit": unit,
        **({} if target is None else {"target": target}),
        "checked": checked,
    }


def merge(
    path: Path, figures: dict[str, dict[str, Any]], *, seeds: Sequence[int], part: str | None = None, **more: Any
) -> None:
    """Puts figures into the file in the place of those with the same names; the others stay as they are.

    `more` are settings of this script, which are kept with what it measured, for each `part` of it that is measured
    apart; the file begins with the account of the script that wrote it first.
    """
    known = json.loads(path.read_text()) if path.is_file() else {}
    script = Path(sys.argv[0]).name
    told = {
        "command": " ".join(["python", f"bench/{script}", *sys.argv[1:]]),
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "seeds": list(seeds),
        **more,
    }
    account = f"{script} {part}" if part else script
    scripts = {**known.get("scripts", {}), account: told}
    found = {**known.get("figures", {}), **{name: {**value, "script": account} for name, value in figures.items()}}
    first = {name: value for name, value in known.items() if name not in ("scripts", "figures")}
    if not first or f"bench/{script}" in first["command"]:
        first = {"what": first.get("what", path.stem), **told}
    atomic.write_json(path, {**first, "scripts": scripts, "figures": found})
