"""Time, memory and exactness of mining: exact search, the graph index, and confidence.

    python bench/mining.py --write results/chexpo.json
    python bench/mining.py speedup --reps 3

Parts: `big` times the search of a large gallery in a process of its own, whose memory it tells; `speedup` times ours
against the published dense loop on a slice, after comparing the neighbors of all published variants with those of a
dense loop in float64; `recall` asks how many of the nearest the graph finds; `confidence` times answers in batches of
16 against one at a time, in one thread. Files go to a temporary folder (about 3.5 GB for `big`) that is removed in the
end. Where a machine does other work, `OMP_NUM_THREADS=1 python bench/mining.py speedup --cpu` compares the processor's
seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chexalign.mine.search.retrieve import search
from chexalign.mine.vectors.features import FeatureSet
from chexalign.mine.vectors.variants import VARIANTS
from mining_confidence import batched, check, make_policy, published
from mining_data import PER_CLUSTER, WIDTH, items_of, make_gallery, published_search
from results_file import figure, merge

PARTS = ("big", "confidence", "speedup", "recall")
EVERY = "q+e+d+v"
SEED = 8
PUBLISHED_K = 10  # the default of the published tool
COMPARED = 500  # seeds that are compared in float64


def seconds(work: Callable[[], Any]) -> float:
    """Wall seconds of the work."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def big(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The large gallery: made, then searched by a process that is started anew for every repetition."""
    make_gallery(folder / "gallery", options.gallery, kind="clustered", seed=SEED)
    command = [sys.executable, __file__, "--child", str(folder / "gallery"), "--threads", str(options.threads)]
    command += ["--gallery", str(options.gallery), "--seeds", str(options.seeds), "--k", str(options.k)]
    runs = []
    for _ in range(options.big_reps):
        runs.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        print(runs[-1], file=sys.stderr)
    assert len({run["digest"] for run in runs}) == 1, "repetitions differ"
    assert all(run["agree"] for run in runs), "neighbors are not those of the float64 loop"
    checked = (
        f"{options.gallery} items x {options.seeds} seeds, {len(VARIANTS[EVERY])} modalities of {WIDTH}, "
        f"{options.k} neighbors, {options.threads} threads, files in the page cache; the neighbors of "
        f"{runs[0]['compared']} seeds are those of a dense loop in float64"
    )
    return {
        "chexpo.mining_seconds": figure([r["seconds"] for r in runs], unit="s", target=300, checked=checked),
        "chexpo.mining_rss_mb": figure([r["rss_mb"] for r in runs], unit="MB", target=6000, checked=checked),
    }


def child(options: argparse.Namespace) -> None:
    """Searches a gallery that is there; prints seconds and the memory that this process had at most meanwhile."""
    from chexalign import ids
    from chexalign.mine.vectors.features import open_features

    n = options.gallery
    gallery = open_features(options.child, items_of(n))
    seeds = gallery.take(range(0, n, n // options.seeds)[: options.seeds])
    started = time.perf_counter()
    found = search(seeds, gallery, EVERY, k=options.k, threads=options.threads)
    spent = time.perf_counter() - started
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    some = list(range(0, len(seeds), max(1, len(seeds) // 20)))
    agree = _agree(seeds.take(some), gallery, found.rows[some])
    print(
        json.dumps(
            {
                "seconds": round(spent, 2),
                "rss_mb": round(rss_mb, 1),
                "digest": ids.digest(found.rows.tolist()),
                "agree": agree,
                "compared": len(some),
            }
        )
    )


def _agree(seeds: FeatureSet, gallery: FeatureSet, rows: Any) -> bool:
    """Whether the neighbors are those of a dense loop in float64, which is done in slices."""
    distances = []
    for start in range(0, len(gallery), 50_000):
        part = gallery.take(range(start, min(start + 50_000, len(gallery))))
        order, values = published_search(seeds, part, VARIANTS[EVERY], k=len(part), dtype="float64")
        distances.append(np.take_along_axis(values, np.argsort(order, axis=1), 1))
    total = np.concatenate(distances, axis=1)
    places = {name: row for row, name in enumerate(gallery.items.ids)}
    total[range(len(seeds)), [places[name] for name in seeds.items.ids]] = np.inf  # an item is not its own neighbor
    return bool(np.array_equal(np.argsort(total, axis=1, kind="stable")[:, : rows.shape[1]], rows))


def speedup(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Ours against the published loop, on a slice that fits into memory."""
    gallery = make_gallery(folder / "slice", options.slice, kind="clustered", seed=SEED)
    seeds = _apart(folder, options.seeds, options.slice, kind="clustered")
    some = seeds.take(range(0, len(seeds), max(1, len(seeds) // COMPARED)))
    for variant, weights in VARIANTS.items():
        expected = published_search(some, gallery, weights, k=PUBLISHED_K, dtype="float64")[0]
        rows = search(some, gallery, variant, k=PUBLISHED_K, threads=options.threads).rows
        assert np.array_equal(rows, expected), f"neighbors differ under {variant}"
    checked = (
        f"{options.slice} items x {len(seeds)} seeds, {PUBLISHED_K} neighbors, {_clock(options)[1]}; under all "
        f"{len(VARIANTS)} variants the neighbors of {len(some)} seeds are those of the loop in float64"
    )
    return {
        "chexpo.mining_speedup": _ratio(options, seeds, gallery, EVERY, target=20, checked=checked),
        "chexpo.mining_speedup_without_flags": _ratio(options, seeds, gallery, "q+e-v", target=None, checked=checked),
    }


def _ratio(
    options: argparse.Namespace,
    seeds: FeatureSet,
    gallery: FeatureSet,
    variant: str,
    *,
    target: float | None,
    checked: str,
) -> dict[str, Any]:
    """Their time as a multiple of ours, in turns; every time their neighbors are compared with ours."""
    ratios, same, clock = [], 1.0, _clock(options)[0]
    for _ in range(options.reps):
        started = clock()
        ours = search(seeds, gallery, variant, k=PUBLISHED_K, threads=options.threads)
        mine = clock() - started
        started = clock()
        rows, distances = published_search(seeds, gallery, VARIANTS[variant], k=PUBLISHED_K)
        ratios.append((clock() - started) / mine)
        assert np.abs(distances - ours.distances).max() < 1e-6, "distances differ"
        same = min(same, float((rows == ours.rows).mean()))
        print(variant, round(mine, 3), round(ratios[-1], 1), file=sys.stderr)
    told = f"; of the timed loop, whose cosines are float32, {same:.3%} of places (the others are ties to 1e-6)"
    return figure(ratios, unit="ratio", target=target, checked=f"{variant}: {checked}{told}")


def _clock(options: argparse.Namespace) -> tuple[Callable[[], float], str]:
    """What tells the seconds, and what they are of."""
    if options.cpu:
        return time.process_time, "the processor's seconds of 1 thread"
    return time.perf_counter, f"{options.threads} threads"


def recall(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The share of the nearest items that the graph finds; one as near as the last of them counts as found."""
    figures = {}
    for kind in ("clustered", "random"):
        gallery = make_gallery(folder / kind, options.graph, kind=kind, seed=SEED)
        seeds = _apart(folder, options.graph_seeds, options.graph, kind=kind)
        for variant in (EVERY, "q+e+d-v"):
            exact = search(seeds, gallery, variant, k=10, threads=options.threads)
            found = search(seeds, gallery, variant, k=10, threads=options.threads, index="hnsw")
            shares = (found.distances <= exact.distances[:, -1:]).mean(axis=1)
            draws = np.random.default_rng(SEED).choice(shares, (1000, len(shares))).mean(axis=1)
            low, high = np.quantile(draws, [0.05, 0.95])
            figures[f"chexpo.hnsw_recall.{kind}.{variant}"] = {
                "value": round(float(shares.mean()), 4),
                "low": round(float(low), 4),
                "high": round(float(high), 4),
                "n": len(shares),
                "unit": "share",
                "checked": f"10 neighbors in {options.graph} items, against the exact search; 90% bootstrap over seeds",
            }
            print(kind, variant, round(float(shares.mean()), 4), file=sys.stderr)
    return figures


def confidence(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Answers in batches against one at a time, both in one thread: two are no faster for so small a model."""
    (folder / "answers").mkdir()
    policy, asks = make_policy(folder / "answers", questions=options.questions, seed=SEED)
    torch.set_num_threads(1)
    checked = check(policy, asks, size=16)
    ratios = []
    for _ in range(options.reps):
        mine = theirs = 0.0
        for start in range(0, len(asks), 16):  # in short turns, so that what else the machine does meets both
            some = asks[start : start + 16]
            mine += seconds(lambda some=some: batched(policy, some, size=16))  # type: ignore[misc]
            theirs += seconds(lambda some=some: published(policy, some))  # type: ignore[misc]
        ratios.append(theirs / mine)
        print("confidence", round(mine, 2), round(ratios[-1], 2), file=sys.stderr)
    torch.set_num_threads(options.threads)
    return {"chexpo.confidence_speedup": figure(ratios, unit="ratio", target=4, checked=checked)}


def _apart(folder: Path, n: int, n_gallery: int, *, kind: str) -> FeatureSet:
    """Seeds that are no items of the gallery, but around the same centers: the published queries are apart as well."""
    clusters = max(1, n_gallery // PER_CLUSTER)
    found = make_gallery(folder / f"seeds-{kind}", n, kind=kind, seed=SEED, prefix="s", n_clusters=clusters)
    return found.take(range(n))


def main() -> None:
    """Measures, prints, and writes the file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all where none is named")
    for name, value in {
        "gallery": 500_000,
        "seeds": 5000,
        "k": 100,
        "slice": 20_000,
        "graph": 10_000,
        "graph-seeds": 500,
        "questions": 64,
        "threads": 2,
        "reps": 3,
        "big-reps": 2,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--cpu", action="store_true", help="`speedup` in the processor's seconds of one thread")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cpu:
        options.threads = 1
        if os.environ.get("OMP_NUM_THREADS") != "1":  # numpy's products heed nothing else
            parser.error("--cpu needs the environment variable OMP_NUM_THREADS=1")
    torch.set_num_threads(options.threads)
    if options.child:
        child(options)
        return
    settings = {name: value for name, value in vars(options).items() if name not in ("write", "child")}
    for name in options.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="mining-") as folder:
            work = {"big": big, "speedup": speedup, "recall": recall, "confidence": confidence}[name]
            figures = work(options, Path(folder))
        print(json.dumps(figures, indent=2), flush=True)
        if options.write:
            merge(options.write, figures, seeds=[SEED], part=name, settings=settings, load=os.getloadavg()[0])


if __name__ == "__main__":
    main()
