"""Measure the rule labeler of the `chexpert` judge against the human MeSH codes of the OpenI reports.

    python bench/chexpert_openi.py [--archive NLMCXR_reports.tgz] [--half test] [--write]

The labeler was tuned on the development half (`chexalign.data.mesh.labeler_half`); the test half was not read. The
labels of findings + impression are compared with the labels that the codes give. Reports without text, and reports
that no indexer coded, are left out. Speed: sentence cache empty, findings section only, one thread, median of five.
Prints JSON, never a text; `--write` also puts it into results/judges.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from chexalign.data import openi
from chexalign.data.mesh import NOT_INDEXED, labeler_half, labels_from_codes
from chexalign.judges.chexpert import FINDINGS, LABELS, CheXpertJudge, label_matrix
from chexalign.judges.chexpert_rules import mentions
from results_file import figure, merge

ROOT = Path(__file__).parent.parent
APART = "Pneumonia"  # the codes name it only where the reader is sure, the reports as a possibility
NORMAL = "normal"  # the code of a report without anything at all; No Finding asks for none of the 13
SEED, RESAMPLES, LEVEL = 2024, 1000, 0.90
TARGET_F1, TARGET_SPEED = 0.80, 1500


def f1_per_label(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """F1 of each column of two bool tables [N, L]; 0 where neither has a positive."""
    agreed = (found & wanted).sum(axis=0)
    return 2 * agreed / np.maximum(found.sum(axis=0) + wanted.sum(axis=0), 1)


def macro_interval(found: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """Percentile bootstrap over reports of the macro F1."""
    rng = np.random.default_rng(SEED)
    draws = rng.integers(0, len(found), size=(RESAMPLES, len(found)))
    values = [f1_per_label(found[rows], wanted[rows]).mean() for rows in draws]
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def reports_per_second(texts: list[str]) -> list[float]:
    """CPU speed of `label_matrix` in five runs, each with the sentence cache empty at the start."""
    rates = []
    for _ in range(5):
        mentions.cache_clear()
        start = time.process_time()
        label_matrix(texts)
        rates.append(len(texts) / (time.process_time() - start))
    return rates


def measure(reports: list[openi.OpenIReport], half: str) -> dict[str, dict[str, Any]]:
    """The figures of one half."""
    coded = [r for r in reports if (r.findings or r.impression) and NOT_INDEXED not in r.codes]
    chosen = [r for r in coded if labeler_half(r.id) == half]
    labels = label_matrix([f"{r.findings or ''} {r.impression or ''}" for r in chosen])
    found = labels[:, : len(FINDINGS)]
    wanted = np.array(
        [[name in labels for name in FINDINGS] for labels in (labels_from_codes(r.codes) for r in chosen)]
    )
    f1 = f1_per_label(found, wanted)
    twelve = [i for i, name in enumerate(FINDINGS) if name != APART]
    low, high = macro_interval(found[:, twelve], wanted[:, twelve])
    figures: dict[str, dict[str, Any]] = {
        f"judges.chexpert_macro12_f1_{half}": {
            "value": float(f1[twelve].mean()),
            "low": low,
            "high": high,
            "n": len(chosen),
            "unit": "F1",
            "target": TARGET_F1,
            "checked": "tests/unit/test_judge_chexpert.py",
        }
    }
    normal = np.array([[NORMAL in {code.lower() for code in r.codes}] for r in chosen])
    no_finding = labels[:, [LABELS.index("No Finding")]]
    for name, one, other in (
        *((name, found[:, [i]], wanted[:, [i]]) for i, name in enumerate(FINDINGS)),
        ("No Finding", no_finding, normal),
    ):
        figures[f"judges.chexpert_f1_{half}.{name.lower().replace(' ', '_')}"] = {
            "value": float(f1_per_label(one, other)[0]),
            "n": int(other.sum()),
            "n_labeled": int(one.sum()),
            "unit": "F1",
        }
    texts = [r.findings for r in coded if r.findings]
    checked = f"sentence cache empty at the start of each run over {len(texts)} reports"
    rates = reports_per_second(texts)
    figures["judges.chexpert_reports_per_s"] = figure(rates, unit="reports/s", target=TARGET_SPEED, checked=checked)
    return figures


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="NLMCXR_reports.tgz; default: the one inside torchxrayvision")
    parser.add_argument("--half", choices=["development", "test"], default="test")
    parser.add_argument("--write", action="store_true", help="put the figures into results/judges.json")
    args = parser.parse_args()
    reports = openi.read_reports(args.archive or openi.find_packaged(openi.ARCHIVE_NAME), {})
    figures = measure(list(reports), args.half)
    print(json.dumps(figures, indent=1))
    if args.write:
        merge(ROOT / "results" / "judges.json", figures, seeds=[SEED], judge=f"chexpert@{CheXpertJudge.version}")


if __name__ == "__main__":
    main()
