"""What the candidates stage costs beside generation: memory as prompts grow in number, and writing and resuming.

    python bench/sampling_stage.py --write results/sampling.json

Memory: the stages prompts and candidates over made-up studies, with a policy that answers at once, each in a process of
its own; what is reported is how much more the peak resident memory is with 100,000 prompts than with 1,000.
Writing: candidates of the tiny policy with random weights, 40 tokens each (a report of the demo has about as many); the
time spent in writing parts, and in finding at a second call that all are there, as a share of the whole.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from chexalign.data.templates import get_template
from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.ids import file_sha256
from chexalign.policy.base import Ask, Completion, Decoding
from chexalign.policy.hf import save_checkpoint
from chexalign.policy.source import LocalSource
from chexalign.run_folder import RunFolder
from chexalign.sample.stage import CandidatesWorker, PromptsWorker, studies_per_part
from chexalign.spread import PartResult
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest, Table
from chexalign.types import ImageRef, Study
from results_file import figure, merge

SENTENCE = "the heart is of normal size and both lungs are clear without effusion or pneumothorax seen today"
WORDS = SENTENCE.split()
STUDIES_PER_PART, PART_SIZE, DRAWS = 100, 60, 4
FEW, MANY = 1_000, 100_000
TOKENS = 40


def report(seed: int, n_words: int = 45) -> str:
    """Some words."""
    rng = np.random.default_rng(seed)
    return " ".join(WORDS[i] for i in rng.integers(0, len(WORDS), n_words))


@dataclass
class MadeUp:
    """Studies with a reference of 45 words; `image` stands for the file of each."""

    n: int
    image: ImageRef

    def setup(self) -> None:
        pass

    def part(self, index: int) -> PartResult[Study]:
        rows = range(index * STUDIES_PER_PART, min(self.n, (index + 1) * STUDIES_PER_PART))
        return PartResult([self._study(i) for i in rows])

    def _study(self, i: int) -> Study:
        return Study(f"s{i:07}", f"p{i}", (self.image,), report(i, 6), report(i), None, (), "prefer", "made up", "CC0")


class AtOnce:
    """A policy that writes 45 words for each seed."""

    def generate(
        self, asks: Sequence[Ask], *, decoding: Decoding, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        return [[Completion(report(seed % 2**32), 60, -80.0, "stop") for seed in row] for row in seeds]

    def sampler(self, decoding: Decoding) -> str:
        return "made up"


class AtOnceSource:
    """Opens it."""

    def open(self) -> AtOnce:
        return AtOnce()


def studies(run: RunFolder, n: int) -> Manifest:
    """Writes the studies and the one image of all."""
    path = run.root / "x.png"
    run.root.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)).save(path)
    worker = MadeUp(n, ImageRef("x.png", file_sha256(path), "frontal", 128, 128))
    return run_parts(run.studies, worker, key=StageKey("studies", {}, {}, 0), n_parts=-(-n // STUDIES_PER_PART))


def prompts(run: RunFolder, n_studies: int) -> Manifest:
    """The stage prompts."""
    counts = studies_per_part(run, -(-n_studies // STUDIES_PER_PART), "prefer")
    worker = PromptsWorker(run, "prefer", get_template("findings@1"), PART_SIZE, counts)
    return run_parts(run.prompts, worker, key=StageKey("prompts", {}, {}, 0), n_parts=worker.n_parts)


def candidates(run: RunFolder, source: Any, n_parts: int) -> Manifest:
    """The stage candidates, in this process."""
    decoding = Decoding(TOKENS, temperature=1.0)
    worker = CandidatesWorker(run, source, decoding, DRAWS, PART_SIZE, max_images=1, seed=11)
    return run_parts(run.candidates, worker, key=StageKey("candidates", {}, {}, 11), n_parts=n_parts)


def peak_mb(root: Path, n: int) -> float:
    """Peak resident memory of a process that makes prompts and candidates."""
    command = [sys.executable, __file__, "--child", str(root), str(n)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(out)
    assert found["candidates"] == n * DRAWS, found
    return float(found["peak_mb"])


def child(root: Path, n: int) -> None:
    """Makes prompts and candidates, and prints the peak of this process's memory."""
    run = RunFolder(root)
    done = candidates(run, AtOnceSource(), prompts(run, n).parts)
    # Not getrusage: its peak is at least that of the process that started this one.
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    print(json.dumps({"peak_mb": int(found[1]) / 1024, "candidates": done.rows}))


def overhead(root: Path, n: int) -> float:
    """Seconds of writing and resuming, as a share of the whole stage."""
    run = RunFolder(root)
    studies(run, n)
    tokenizer = train_tokenizer([report(i) for i in range(50)], vocabulary=400)
    save_checkpoint(build_model(tokenizer, seed=3), build_processor(tokenizer), root / "policy")
    n_parts = prompts(run, n).parts
    spent, write = 0.0, Table.write_part

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal spent
        start = time.perf_counter()
        info = write(*args, **kwargs)
        spent += time.perf_counter() - start
        return info

    Table.write_part = timed  # type: ignore[method-assign]
    try:
        start = time.perf_counter()
        candidates(run, LocalSource(root / "policy"), n_parts)
        whole = time.perf_counter() - start
    finally:
        Table.write_part = write  # type: ignore[method-assign]
    start = time.perf_counter()
    candidates(run, LocalSource(root / "policy"), n_parts)  # finds every part, and does nothing
    return (spent + time.perf_counter() - start) / whole


def main() -> None:
    """Measures, prints, and writes into the file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=180, help="of the measurement of writing")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(Path(arguments.child[0]), int(arguments.child[1]))
        return
    torch.set_num_threads(2)
    shares, growth = [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for i in range(arguments.reps):
            shares.append(overhead(root / f"tiny-{i}", arguments.prompts))
            print(f"writing and resuming {shares[-1]:.3%}", file=sys.stderr)
        for n in (FEW, MANY):
            studies(RunFolder(root / str(n)), n)
        for _ in range(arguments.reps):
            peaks = []
            for n in (FEW, MANY):
                for table in ("prompts", "candidates"):
                    subprocess.run(["rm", "-rf", str(root / str(n) / table)], check=True)
                peaks.append(peak_mb(root / str(n), n))
            growth.append(peaks[1] - peaks[0])
            print(f"peaks {peaks[0]:.0f} and {peaks[1]:.0f} MB", file=sys.stderr)
    figures = {
        "sampling.rss_growth_mb_1k_to_100k": figure(
            [round(v, 1) for v in growth], unit="MB", target=50, checked=f"{MANY * DRAWS} candidates were counted"
        ),
        "sampling.write_overhead": figure(
            shares, unit="share of the stage's time", target=0.02, checked="every part was written, and found again"
        ),
    }
    print(json.dumps({name: value["value"] for name, value in figures.items()}, indent=2))
    if arguments.write:
        merge(arguments.write, figures, seeds=[0, 3, 11])


if __name__ == "__main__":
    main()
