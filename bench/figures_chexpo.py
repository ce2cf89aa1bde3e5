"""The tables of docs/mining.md: what policies that learned from mined questions answer, by seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Cell = Callable[..., str]
Figures = Mapping[str, Mapping[str, Any]]
Rows = tuple[list[str], list[list[str]]]  # the head, and what is below it

ARMS = ("dpo_mined", "dpo_random", "dpo_confidence", "dpo_similarity", "sft_mined")
METRICS = {
    "accuracy": "accuracy",
    "accuracy.basic": "accuracy, one image",
    "accuracy.region": "accuracy, a marked place",
    "accuracy.compare": "accuracy, two exams",
    "accuracy.verify": "accuracy, yes or no",
    "accuracy.choose": "accuracy, one of several options",
    "micro_f1": "F1 where several options are right",
    "ece": "calibration error",
    "hallucination": "absent findings affirmed",
    "report.chexpert": "reports: label agreement",
    "report.micro_f1_13_vs_mesh": "reports: micro F1 against the codes",
    "report.bertscore": "reports: BERTScore",
    "report.words": "reports: words",
}


def seeds_of(figures: Figures) -> list[int]:
    """The seeds that were measured, in order."""
    found = (re.fullmatch(r"chexpo\.seed(\d+)\.relative_gain_vs_sft", key) for key in figures)
    return sorted(int(match[1]) for match in found if match)


def gain_rows(figures: Figures, cell: Cell) -> Rows:
    """The relative gain in accuracy of every arm over SFT, and over the draw at random."""
    head = ["seed", "against", *[f"`{arm}`" for arm in ARMS]]
    rows = []
    for seed in seeds_of(figures):
        for against, name in (("SFT", "relative_gain"), ("`dpo_random`", "relative_gain_vs_random5")):
            cells = [cell(figures.get(f"chexpo.seed{seed}.{name}.{arm}")) for arm in ARMS]
            rows.append([str(seed), against, *cells])
    return head, rows


def metric_rows(figures: Figures, cell: Cell) -> Rows:
    """Every metric: SFT and the paired differences of the arms, one row per metric and seed."""
    head = ["metric", "seed", "SFT", *[f"`{arm}` − SFT" for arm in ARMS]]
    rows = []
    for name, label in METRICS.items():
        for seed in seeds_of(figures):
            start = f"chexpo.seed{seed}.{name}"
            keys = [f"{start}.sft", *[f"{start}.delta.{arm}" for arm in ARMS]]
            rows.append([label, str(seed), *[cell(figures.get(key)) for key in keys]])
    return head, rows


def claim(figures: Figures, key: str, direction: Callable[[Mapping[str, Any]], int], cell: Cell) -> str:
    """`on seed 11 +0.021 [-0.010, +0.055], no difference shown`, for every seed."""
    said = {1: "a gain", -1: "a loss", 0: "no difference shown"}
    found: Sequence[tuple[int, Mapping[str, Any]]] = [
        (seed, figures[f"chexpo.seed{seed}.{key}"]) for seed in seeds_of(figures)
    ]
    return "; ".join(f"on seed {seed} {cell(figure)}, {said[direction(figure)]}" for seed, figure in found)
