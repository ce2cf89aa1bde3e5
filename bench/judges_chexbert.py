"""Measure how much faster CheXbert labels reports in batches than one at a time; writes into results/judges.json.

    python bench/judges_chexbert.py [--reports 96] [--repeats 5] [--write]

Weights are random, in the layout and sizes of chexbert.pth (110 million parameters); the speed does not depend on
them. Reports are made up of words, distinct, of lengths drawn around those of findings sections. One at a time is
f1chexbert's own way (`tests/chexbert_plain.py`), without its reading of a table per report. Both run in two threads,
in turns. The labels of both are compared, and a figure is written only if all are equal.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import torch

from results_file import figure, merge

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.chexbert_plain import NAMES, Plain, random_checkpoint  # noqa: E402

from chexalign.judges import chexbert  # noqa: E402
from chexalign.judges.chexbert import CheXbertJudge  # noqa: E402
from chexalign.judges.chexbert_model import CLASSES  # noqa: E402

WORDS = "the heart is normal in size no pleural effusion or pneumothorax lungs are clear mild left basilar atelectasis"
WORDS += " small right opacity stable cardiomegaly edema tube tip in place without focal consolidation . ,"
SEED, MEAN_WORDS, SPREAD_WORDS, THREADS, TARGET = 17, 45, 20, 2, 1.3


def reports(n: int) -> list[str]:
    """Distinct reports of different lengths."""
    draw, words = random.Random(SEED), WORDS.split()
    return [" ".join(draw.choices(words, k=max(5, round(draw.gauss(MEAN_WORDS, SPREAD_WORDS))))) for _ in range(n)]


def measure(n: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of each repetition, for both ways."""
    texts = reports(n)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chexbert.pth"
        random_checkpoint(path, seed=SEED)
        judge = CheXbertJudge(checkpoint=str(path), device="cpu", texts="raw")
        plain = Plain(path, chexbert._vocabulary(None))
        seconds: dict[str, list[float]] = {"one": [], "batches": []}
        for repeat in range(repeats + 1):
            start = time.perf_counter()
            one = [plain.classes(text) for text in texts]
            middle = time.perf_counter()
            batches = judge.label(texts)
            end = time.perf_counter()
            if [[CLASSES.index(labels[name]) for name in NAMES] for labels in batches] != one:
                sys.exit("the labels differ")
            if repeat:  # the first is a warm-up
                seconds["one"].append(middle - start)
                seconds["batches"].append(end - middle)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the figures into results/judges.json")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    seconds = measure(args.reports, args.repeats)
    checked = "all labels equal to one report at a time, here and in tests/unit/test_judge_chexbert.py"
    speedups = [one / batches for one, batches in zip(seconds["one"], seconds["batches"], strict=True)]
    speed = [args.reports / s for s in seconds["batches"]]
    figures = {
        "judges.chexbert_batch_speedup": figure(speedups, unit="ratio", target=TARGET, checked=checked),
        "judges.chexbert_reports_per_s": figure(speed, unit="distinct reports/s", target=None, checked=checked),
    }
    print(json.dumps(figures, indent=1))
    if args.write:
        merge(ROOT / "results" / "judges.json", figures, seeds=[SEED], threads=THREADS, reports=args.reports)


if __name__ == "__main__":
    main()
