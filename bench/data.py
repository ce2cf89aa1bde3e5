"""What `chexalign data prepare` costs for a collection of MIMIC-CXR's size, without decoding pixels.

    python bench/data.py --reps 3 --write results/data.json

A made-up collection in the official layout (bench/mimic_shape.py) is written to a temporary folder, which is not timed;
it needs 4 GB of disk for some minutes. Then `chexalign data prepare mimic-cxr` runs on it with two workers, frontal and
lateral images: tables, reports, image files hashed and their headers read, tables written. Timed is the whole process
from its start; memory is the resident memory of all its processes together, shared pages counted in each, at its
highest. The files were just written, so they are read from the memory of the system, and the images are tiny: where
real ones lie, reading some 500 GB of them takes longer than all of this.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexalign.store import Manifest
from mimic_shape import IMAGES, PATIENTS, STUDIES, Shape, write_collection
from results_file import figure, merge

SEED, WORKERS = 0, 2
MOST_SECONDS, MOST_MB = 180, 3000
_POLL_SECONDS = 0.2
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of the command."""

    seconds: float
    peak_mb: float
    manifest: dict[str, Any]


def prepare(root: Path, out: Path, *, workers: int) -> Ran:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "chexalign.cli.main", "data", "prepare", "mimic-cxr", "--root", str(root)]
    command += ["--out", str(out), "--workers", str(workers), "--option", "views=[frontal, lateral]"]
    start, peak = time.perf_counter(), 0.0
    # Its own session, by which its processes are found: workers are forked from a server, not from it.
    with subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            peak = max(peak, resident_mb(process.pid))
            time.sleep(_POLL_SECONDS)
        seconds = time.perf_counter() - start
    manifest = Manifest.load(out / "studies")
    assert process.returncode == 0, "the command failed; run it by hand to see why"
    assert manifest is not None
    return Ran(seconds, peak, {"rows": manifest.rows, "dropped": manifest.dropped, "content": manifest.content})


def resident_mb(session: int) -> float:
    """Resident memory of all processes of a session."""
    pages = 0
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and os.getsid(int(folder.name)) == session:
                pages += int((folder / "statm").read_text().split()[1])
        except (OSError, ValueError):  # it ended in between
            continue
    return pages * _PAGE_BYTES / 2**20


def same_rows(folder: Path) -> str:
    """That one worker and two give the same rows, on a hundredth of the collection."""
    small = Shape(PATIENTS // 100, STUDIES // 100, IMAGES // 100)
    write_collection(folder / "small", small, seed=SEED)
    found = [prepare(folder / "small", folder / f"small-{n}", workers=n).manifest for n in (1, 2)]
    assert found[0]["rows"] > 0
    assert found[0] == found[1], "the rows depend on the number of workers"
    return f"one worker and two give the same {found[0]['rows']:,} rows on a hundredth of it"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="file of results to put the figures into")
    parser.add_argument("--reps", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="share of the collection, to try this out")
    parser.add_argument("--workers", type=int, default=WORKERS)
    args = parser.parse_args()
    shape = Shape(*(int(n * args.share) for n in (PATIENTS, STUDIES, IMAGES)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        same = same_rows(folder)
        write_collection(folder / "mimic", shape, seed=SEED)
        ran = []
        for n in range(args.reps):
            ran.append(prepare(folder / "mimic", folder / f"out-{n}", workers=args.workers))
            print(f"{ran[-1].seconds:.1f} s, {ran[-1].peak_mb:.0f} MB, {ran[-1].manifest}", flush=True)
        found = figures(ran, shape, same)
        if args.write:
            merge(args.write, found, seeds=[SEED], shape={"studies": shape.studies, "images": shape.images})


def figures(ran: Sequence[Ran], shape: Shape, same: str) -> dict[str, dict[str, Any]]:
    """What was measured, once it is sure that every exam is accounted for and repetitions agree."""
    for one in ran:
        assert one.manifest == ran[0].manifest, "repetitions give other rows"
        assert one.manifest["rows"] + sum(one.manifest["dropped"].values()) == shape.studies, "an exam got lost"
    checked = f"rows and dropped ones with their reasons are all {shape.studies:,} exams; {same}"
    return {
        "data.mimic_shape_seconds": figure([r.seconds for r in ran], unit="s", target=MOST_SECONDS, checked=checked),
        "data.mimic_shape_rss_mb": figure([r.peak_mb for r in ran], unit="MB", target=MOST_MB, checked=checked),
    }


if __name__ == "__main__":
    main()
