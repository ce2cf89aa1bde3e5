"""Turn finished runs of the recipe chexpo/openi, one per seed, into figures of results/chexpo.json.

    make chexpo
    python bench/measure_chexpo.py runs/chexpo-seed11 runs/chexpo-seed12 --write results/chexpo.json

Reads recipe.yaml, estimates.json, mine/found.json, manifests and timing.json; computes nothing but the sum of the
minutes, and copies no text. The runs must be of one recipe, seed and run name apart.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from chexalign import atomic
from chexalign.run_folder import SFT
from measure_demo import Figures, Run, account, figure, is_whole, read_run, shared_recipe
from results_file import merge
from time_demo import ROOT

RUNS = ("runs/chexpo-seed11", "runs/chexpo-seed12", "runs/chexpo-seed13")
MOST_MINUTES, MOST_MINUTES_OF_ONE = 75, 25
CHECKED = "tests/unit/test_question_types.py, tests/unit/test_tasks.py, tests/unit/test_stats.py"
MINED, RANDOM = "dpo_mined", "dpo_random"
GAIN = "vqa.all.relative_gain"

# Name in results/chexpo.json -> (metric of estimates.json, unit).
METRICS = {
    "accuracy": ("vqa.all.accuracy", "share of questions answered right"),
    "accuracy.basic": ("vqa.basic.accuracy", "share of questions answered right"),
    "accuracy.region": ("vqa.region.accuracy", "share of questions answered right"),
    "accuracy.compare": ("vqa.compare.accuracy", "share of questions answered right"),
    "accuracy.verify": ("vqa.verify.accuracy", "share of questions answered right"),
    "accuracy.choose": ("vqa.choose.accuracy", "share of questions answered right"),
    "micro_f1": ("vqa.all.micro_f1", "F1 over the options of questions with several right ones"),
    "ece": ("vqa.all.ece", "expected calibration error"),
    "hallucination": ("vqa.hallucination", "share of questions where something absent is affirmed"),
    "report.chexpert": ("chexpert", "F1 per report, mean"),
    "report.micro_f1_13_vs_mesh": ("mesh.micro_f1_13", "F1"),
    "report.bertscore": ("bertscore", "BERTScore F1, mean"),
    "report.words": ("words", "words per report"),
}


def figures_of(run: Run) -> Figures:
    """What SFT reaches, how every arm differs from it and from the draw at random, and what was mined, for one seed."""
    find = {(e.metric, e.policy, e.baseline): e for e in run.estimates}
    prefix, arms = f"chexpo.seed{run.recipe.seed}", run.recipe.mined_arms()
    out: Figures = {}

    def add(key: str, metric: str, unit: str, policy: str, baseline: str | None = None) -> None:
        if (found := find.get((metric, policy, baseline))) is not None:
            out[f"{prefix}.{key}"] = figure(found, unit, CHECKED)

    add("relative_gain_vs_sft", GAIN, "relative gain in accuracy", MINED, SFT)
    add("vs_random5", GAIN, "relative gain in accuracy", MINED, RANDOM)
    for arm in arms:
        add(f"relative_gain.{arm}", GAIN, "relative gain in accuracy", arm, SFT)
        add(f"relative_gain_vs_random5.{arm}", GAIN, "relative gain in accuracy", arm, RANDOM)
    for name, (metric, unit) in METRICS.items():
        add(f"{name}.{SFT}", metric, unit, SFT)
        for arm in arms:
            add(f"{name}.delta.{arm}", metric, f"{unit}, difference", arm, SFT)
            add(f"{name}.delta_vs_random5.{arm}", metric, f"{unit}, difference", arm, RANDOM)
    return out | _counts(run, prefix)


def _counts(run: Run, prefix: str) -> Figures:
    counts = atomic.read_json(run.folder.mine_found)["counts"]
    checked = "tests/pipeline/test_mine.py"
    found = {name: sum(counts[name].values()) for name in ("gallery", "asked", "failed")}
    found["pairs"] = run.manifests[f"pairs/{MINED}"].rows
    about = {"unit": "questions", "checked": checked}
    return {f"{prefix}.n.{name}": {"value": n, "n": n, **about} for name, n in found.items()}


def minutes(runs: list[Run]) -> Figures:
    """Wall minutes of each run and of all, where each was timed from nothing to its end."""
    if not all(is_whole(run) for run in runs):
        return {}
    each = {run.recipe.seed: run.timing["minutes"] for run in runs if run.timing}
    about: dict[str, Any] = {"unit": "min, environment already built", "checked": "tests/pipeline/test_mine.py"}
    of_one = {**about, "n": 1, "target": MOST_MINUTES_OF_ONE}
    out = {f"chexpo.seed{seed}.minutes": {"value": value, **of_one} for seed, value in each.items()}
    return out | {"chexpo.minutes": {"value": sum(each.values()), "n": len(each), **about, "target": MOST_MINUTES}}


def main() -> None:
    """Read and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, default=[ROOT / run for run in RUNS], help="folders of the runs")
    parser.add_argument("--write", type=Path, default=ROOT / "results" / "chexpo.json", help="the file to write")
    args = parser.parse_args()
    runs = sorted((read_run(root) for root in args.runs), key=lambda run: run.recipe.seed)
    figures: Figures = minutes(runs)
    for run in runs:
        figures |= figures_of(run)
    about = {"recipe": shared_recipe(runs), "runs": [account(run) for run in runs]}
    sys.argv = [sys.argv[0]]  # folders of this machine say nothing; the command is that of `make chexpo`
    merge(args.write, figures, seeds=[run.recipe.seed for run in runs], **about)
    args.write.chmod(0o644)  # no text in it, and it is committed
    print(f"{args.write}: {len(figures)} figures, seeds {[run.recipe.seed for run in runs]}", file=sys.stderr)


if __name__ == "__main__":
    main()
