"""How often intervals cover the truth, and how fast they are next to a loop over scikit-learn.

    pip install scikit-learn==1.9.1
    OMP_NUM_THREADS=1 python bench/stats.py --write

Coverage: 2,000 simulated test sets of 300 studies (stats_cases.py), 90% intervals from 1,000 resamples, both kinds.
Speed: F1, precision and recall of 14 labels, micro and macro over 14 and over 5 of them, for 2,300 studies and 1,000
resamples, resampling included. The loop asks classification_report for the same numbers on the same resamples; it is
timed on some of them, in turns with ours. Numbers are compared before a figure is written.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chexalign.judges.chexpert import LABELS
from chexalign.stats import Bootstrap
from chexalign.stats.f1 import MEASURES, Counts, LabelSets
from results_file import figure, merge
from stats_cases import SENSITIVITY, N, draw, truths

ROOT = Path(__file__).resolve().parent.parent
SEED, SIMULATIONS, RESAMPLES, LEVEL = 11, 2_000, 1_000, 0.90
STUDIES, LOOPED, CALLS, REPEATS, TOLERANCE = 2_300, 40, 10, 7, 1e-12
FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
BOUND = ("mean", "micro_f1")  # what the target is for
KINDS = ("percentile", "bca")
DESIGNS = {"studies": False, "patients": True}
NAME = {"metric": "chexbert", "policy": "policy", "split": "test"}


def coverage(simulations: int) -> dict[str, dict[str, Any]]:
    """The share of intervals that hold the truth, by design, statistic and kind of interval."""
    wanted, figures = truths(), {}
    for design, by_patient in DESIGNS.items():
        held = {f"{name}.{kind}": 0 for name in wanted for kind in KINDS}
        for i in range(simulations):
            for key, (low, high) in intervals(np.random.default_rng([SEED, by_patient, i]), by_patient, seed=i).items():
                held[key] += low <= wanted[key.split(".")[0]] <= high
        what = f"{N} studies" if not by_patient else f"{N} studies of about 110 patients, who are resampled"
        checked = f"simulated with known truth, {what}, {RESAMPLES} resamples; the interval is Wilson's, 90%"
        for key, count in held.items():
            figures[f"stats.coverage_90.{design}.{key}"] = share(count, simulations, checked)
    bound = [f"stats.coverage_90.{design}.{name}.percentile" for design in DESIGNS for name in BOUND]
    worst = max(bound, key=lambda key: abs(figures[key]["value"] - LEVEL))
    told = f"the farthest from 0.90 of {', '.join(bound)}, which is {worst}; {figures[worst]['checked']}"
    return {"stats.coverage_90": {**figures[worst], "target": [0.88, 0.92], "checked": told}, **figures}


def intervals(rng: np.random.Generator, by_patient: bool, *, seed: int) -> dict[str, tuple[float, float]]:
    """The bounds of every statistic and kind on one simulated test set, by the methods that a run uses."""
    case, found = draw(rng, by_patient=by_patient), {}
    bootstrap = Bootstrap(case.clusters, seed=seed, resamples=RESAMPLES, level=LEVEL)
    mine, theirs = (case.scores[system] for system in SENSITIVITY)
    called, base = (case.calls[system] for system in SENSITIVITY)
    for kind in KINDS:
        boot, against = bootstrap.using(kind), {**NAME, "baseline": "baseline"}
        micro, macro = boot.f1(case.true, called, **NAME)
        micro_gap, macro_gap = boot.f1_difference(case.true, called, base, **against)
        for name, e in {
            "mean": boot.mean(mine, **NAME),
            "mean_difference": boot.difference(mine, theirs, **against),
            "micro_f1": micro,
            "micro_f1_difference": micro_gap,
            "macro_f1": macro,
            "macro_f1_difference": macro_gap,
        }.items():
            found[f"{name}.{kind}"] = (e.low, e.high)
    return found


def share(count: int, n: int, checked: str) -> dict[str, Any]:
    """A share with Wilson's 90% interval."""
    z, p = 1.6448536269514722, count / n
    middle, half = (p + z * z / (2 * n)) / (1 + z * z / n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    low, high = (middle + sign * half / (1 + z * z / n) for sign in (-1, 1))
    return {"value": p, "low": round(low, 4), "high": round(high, 4), "n": n, "unit": "share", "checked": checked}


def speed() -> dict[str, dict[str, Any]]:
    """Seconds of ours, and how many times faster than either loop, over repetitions in turns."""
    true, called, ids = label_tables()
    draws = ours(true, called, ids)[0].weights[:LOOPED]
    rows = [np.repeat(np.arange(STUDIES), w.astype(int)) for w in draws]
    error = largest_difference(true, called, ids, rows)
    if error > TOLERANCE:
        raise SystemExit(f"the numbers differ by {error:.1e}")
    rounds = []
    for _ in range(1 + REPEATS):
        seconds = timed(lambda: [ours(true, called, ids) for _ in range(CALLS)]) / CALLS
        scale = RESAMPLES / LOOPED / seconds
        report = scale * timed(lambda: [report_of(true[r], called[r]) for r in rows])
        rounds.append((seconds, report, scale * timed(lambda: [lean_of(true[r], called[r]) for r in rows])))
    seconds, report, lean = (list(column) for column in zip(*rounds[1:], strict=True))  # the first one warms up
    same = f"{len(MEASURES) * 18} numbers on each of {LOOPED} resamples equal scikit-learn's to {TOLERANCE:.0e}"
    alike = f"{same}; the loop was timed on {LOOPED} of {RESAMPLES} resamples, in turns"
    return {
        "stats.bootstrap_seconds": figure(
            seconds, unit="seconds", target=2.0, checked=f"{same}; {STUDIES} studies, one thread"
        ),
        "stats.bootstrap_speedup": figure(
            report, unit="ratio", target=100.0, checked=f"{alike}; classification_report over 14 and over 5 labels"
        ),
        "stats.bootstrap_speedup_vs_lean_loop": figure(
            lean,
            unit="ratio",
            target=None,
            checked=f"{alike}; one multilabel_confusion_matrix, the rest from it by numpy",
        ),
    }


def label_tables() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Truth and calls [2300, 14], the rarest label true in a hundredth of the studies."""
    rng = np.random.default_rng(SEED)
    true = rng.random((STUDIES, len(LABELS))) < np.geomspace(0.01, 0.35, len(LABELS))
    called = np.where(true, rng.random(true.shape) < 0.6, rng.random(true.shape) < 0.05)
    return true, called, [f"s{i:04d}" for i in range(STUDIES)]


def ours(true: np.ndarray, called: np.ndarray, ids: Sequence[str]) -> tuple[Bootstrap, list[Any]]:
    bootstrap = Bootstrap(ids, seed=SEED, resamples=RESAMPLES, level=LEVEL)
    return bootstrap, bootstrap.f1_report(true, called, labels=LABELS, subsets=[FIVE], **NAME)


def report_of(true: np.ndarray, called: np.ndarray) -> dict[str, float]:
    """The numbers of one resample by classification_report, named as ours."""
    from sklearn.metrics import classification_report

    values = {}
    for names in (LABELS, FIVE):
        columns = [LABELS.index(name) for name in names]
        found = classification_report(
            true[:, columns], called[:, columns], target_names=names, output_dict=True, zero_division=0
        )
        for measure in MEASURES:
            key = "f1-score" if measure == "f1" else measure
            values |= {f"{kind}_{measure}_{len(names)}": found[f"{kind} avg"][key] for kind in ("micro", "macro")}
            values |= {f"{measure}.{name}": found[name][key] for name in names}
    return values


def lean_of(true: np.ndarray, called: np.ndarray) -> dict[str, Any]:
    """The same by the one call of scikit-learn that holds all counts."""
    from sklearn.metrics import multilabel_confusion_matrix

    found = multilabel_confusion_matrix(true, called)
    hits, missed, invented = found[:, 1, 1], found[:, 1, 0], found[:, 0, 1]
    return measured(Counts(*(x[None].astype(float) for x in (hits, hits + missed, hits + invented))))


def measured(counts: Counts) -> dict[str, Any]:
    return dict(LabelSets(LABELS, (FIVE,)).measures(counts))


def largest_difference(true: np.ndarray, called: np.ndarray, ids: Sequence[str], rows: Sequence[np.ndarray]) -> float:
    """Between ours and both loops, over all numbers of the looped resamples, and between ours and its own intervals."""
    bootstrap, estimates = ours(true, called, ids)
    draws = measured(Counts.summed(true, called, lambda columns: bootstrap.weights @ columns.astype(float)))
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    gaps = []
    for e in estimates:
        bounds = np.nanquantile(draws[e.metric.removeprefix("chexbert.")], tails)
        gaps.append(np.abs(bounds - [e.low, e.high]).max())
    for i, r in enumerate(rows):
        wanted, lean = report_of(true[r], called[r]), lean_of(true[r], called[r])
        assert wanted.keys() <= lean.keys() == draws.keys()
        gaps += [max(abs(draws[name][i] - wanted[name]), abs(draws[name][i] - lean[name][0])) for name in wanted]
    return float(np.max(gaps))


def timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> int:
    """Measure, print, and with --write keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the figures in results/stats.json")
    parser.add_argument("--simulations", type=int, default=SIMULATIONS)
    args = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1: the times are those of one core")
    figures = {**speed(), **coverage(args.simulations)}
    for name, found in figures.items():
        print(json.dumps({name: [found["value"], found["low"], found["high"]]}))
    if args.write:
        peer = f"scikit-learn {importlib.metadata.version('scikit-learn')}"
        merge(ROOT / "results" / "stats.json", figures, seeds=[SEED], peer=peer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
