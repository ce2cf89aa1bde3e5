"""Turn finished runs of the recipe matrix, one per seed, into results/matrix.json.

    make matrix
    python bench/measure_matrix.py runs/matrix-seed11 runs/matrix-seed12 --write results/matrix.json

Reads recipe.yaml, estimates.json and timing.json; computes nothing but the sum of the minutes, and copies no report
text. The runs must be of one recipe, seed and run name apart.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path
from typing import Any

from chexalign import atomic
from chexalign.evaluate.stage import read_numbers
from chexalign.recipe import folder_name
from chexalign.run_folder import SFT
from measure_demo import METRICS as DEMO_METRICS
from measure_demo import Figures, Run, account, figure, is_whole, read_run, shared_recipe, versions
from time_demo import ROOT, commit, machine

RUNS = ("runs/matrix-seed11", "runs/matrix-seed12", "runs/matrix-seed13")
MOST_MINUTES = 90
CHECKED = "tests/unit/test_reports_metrics.py, tests/unit/test_tasks.py, tests/unit/test_stats.py"

# Name in results/matrix.json -> (metric of estimates.json, unit); differences are against SFT.
METRICS = {
    **{name: DEMO_METRICS[name] for name in DEMO_METRICS if name not in ("rouge_l", "findings_per_report")},
    "macro_f1_13_vs_mesh": ("mesh.macro_f1_13", "F1"),
    "macro_f1_13_vs_reference": ("chexpert.macro_f1_13", "F1"),
    "lc_chexpert": ("lc-chexpert", "length-controlled F1 per report, mean"),
    "lc_bertscore": ("lc-bertscore", "length-controlled BERTScore F1, mean"),
    "tax.mean": ("task.mean.accuracy", "accuracy"),
    "tax.view": ("task.view.accuracy", "accuracy"),
    "tax.presence": ("task.binary.accuracy", "accuracy"),
    "tax.multi_disease": ("task.multi_disease.accuracy", "accuracy"),
}
ALONE = {"verbosity_vs_sft": "ratio of mean words", "goodhart_gap": "standard deviations of the judges' scores"}


def figures_of(run: Run) -> Figures:
    """What SFT reaches, and how every arm differs from it, for one seed."""
    find = {(e.metric, e.policy, e.baseline): e for e in run.estimates}
    prefix, arms = f"matrix.seed{run.recipe.seed}", run.recipe.resolved_arms()
    out: Figures = {}

    def add(key: str, metric: str, unit: str, policy: str, baseline: str | None = None) -> None:
        if (found := find.get((metric, policy, baseline))) is not None:
            out[f"{prefix}.{key}"] = figure(found, f"{unit}, difference" if baseline else unit, CHECKED)

    for name, (metric, unit) in METRICS.items():
        add(f"{name}.{SFT}", metric, unit, SFT)
        for arm in arms:
            add(f"{name}.delta.{arm}", metric, unit, arm, SFT)
    for name, unit in ALONE.items():
        for arm in arms:
            add(f"{name}.{arm}", name, unit, arm)
            add(f"{name}.{arm}", name, unit, arm, SFT)
    for arm, spec in arms.items():
        judge = folder_name(spec.judge)
        add(f"{judge}.win_rate_vs_sft.{arm}", f"{judge}.win_rate_vs_sft", "share of studies", arm)
        add(f"{judge}.lc_win_rate_vs_sft.{arm}", f"{judge}.lc_win_rate_vs_sft", "share of studies", arm)
    return out


def verdicts_of(run: Run) -> dict[str, Any]:
    """What the run itself concludes of length and of the tax."""
    numbers = read_numbers(run.folder)
    return {
        "length": {v.policy: v.verdict for v in numbers.length},
        "tax": {f"{v.policy}.{v.metric}": v.verdict for v in numbers.tax},
    }


def result(roots: list[Path]) -> dict[str, Any]:
    """All of results/matrix.json."""
    runs = sorted((read_run(root) for root in roots), key=lambda run: run.recipe.seed)
    recipe = shared_recipe(runs)
    figures: Figures = {}
    for run in runs:
        figures |= figures_of(run)
    if all(is_whole(run) for run in runs):
        minutes = sum(run.timing["minutes"] for run in runs if run.timing)
        figures["matrix.minutes"] = {
            "value": minutes,
            "n": len(runs),
            "unit": "min, all seeds, environment already built",
            "target": MOST_MINUTES,
            "checked": "tests/pipeline/test_demo.py",
        }
    machines = [call["machine"] for run in runs if run.timing for call in run.timing["calls"]]
    accounts = [account(run) for run in runs]
    commits = {c for one in accounts for c in one["commits"]}
    return {
        "what": "five algorithms by two judges on OpenI reports with synthetic images, and what that costs elsewhere",
        "command": "make matrix",
        "commit": commits.pop() if len(commits) == 1 else commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machines[0] if machines else machine(),
        "versions": versions(),
        "seeds": [run.recipe.seed for run in runs],
        "arms": {name: folder_name(arm.judge) for name, arm in runs[0].recipe.resolved_arms().items()},
        "recipe": recipe,
        "runs": accounts,
        "verdicts": {f"seed{run.recipe.seed}": verdicts_of(run) for run in runs},
        "figures": figures,
    }


def main() -> None:
    """Read and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, default=[ROOT / run for run in RUNS], help="folders of the runs")
    parser.add_argument("--write", type=Path, default=ROOT / "results" / "matrix.json", help="the file to write")
    args = parser.parse_args()
    found = result(args.runs)
    atomic.write_json(args.write, found)
    args.write.chmod(0o644)  # no report text in it, and it is committed
    print(f"{args.write}: {len(found['figures'])} figures, seeds {found['seeds']}", file=sys.stderr)


if __name__ == "__main__":
    main()
