"""`chexalign sample` that is killed with SIGKILL again and again draws the candidates of one that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from tests.made_up import tiny_checkpoint

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

PROMPTS, DRAWS, KILLS = 48, 3, 4
_WAIT_SECONDS = 240


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe over a table of one's own and a policy with random weights."""
    root = tmp_path_factory.mktemp("sample")
    tiny_checkpoint(root / "policy")
    rows = ["id,patient,images,findings,split"]
    for i in range(PROMPTS + 2):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (64, 64), dtype=np.uint8)).save(root / f"{i}.png")
        rows.append(f"s{i:03},p{i},{i}.png,Both lungs are clear.,{'prefer' if i < PROMPTS else 'test'}")
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    (root / "own.yaml").write_text(
        f"""run: own
data:
  source: table
  root: {root / "table.csv"}
  license: made up
  split: {{prefer: {PROMPTS}, test: 2}}
policy: {{model: {root / "policy"}}}
sample: {{n: {DRAWS}, part_size: 4, batch_size: 4, max_new_tokens: 24}}
judge: chexpert
pairs: {{rule: best_worst}}
train: {{algorithm: dpo, beta: 0.1, learning_rate: 1.0e-4}}
evaluate: {{metrics: [chexpert]}}
"""
    )
    return root / "own.yaml"


def command(recipe: Path, runs: Path, workers: int) -> list[str]:
    more = ["--runs", str(runs), "--set", f"workers={workers}"]
    return [sys.executable, "-m", "chexalign.cli.main", "sample", str(recipe), *more]


def finish(recipe: Path, runs: Path, workers: int) -> Manifest:
    done = subprocess.run(
        command(recipe, runs, workers), capture_output=True, text=True, timeout=_WAIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = Manifest.load(RunFolder(runs / "own").candidates.folder)
    assert manifest is not None
    return manifest


def parts(runs: Path) -> int:
    return len(list((runs / "own" / "candidates").glob("part-*.json")))


def test_killed_at_random_points_it_ends_with_the_same_table(recipe: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    first = finish(recipe, whole, workers=1)
    rng, seen = random.Random(20261122), []
    for kill in range(KILLS):
        with subprocess.Popen(
            command(recipe, killed, workers=2),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            end = time.monotonic() + _WAIT_SECONDS
            while parts(killed) < 2 * (kill + 1):  # a few parts further each time, then at any moment
                assert time.monotonic() < end, "no progress"
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 0.2))
            os.killpg(process.pid, signal.SIGKILL)
        seen.append(parts(killed))
    assert seen[-1] < PROMPTS / 4, "it was finished before the last kill"
    second = finish(recipe, killed, workers=2)
    assert (second.content, second.rows) == (first.content, PROMPTS * DRAWS)
    rows = RunFolder(killed / "own").candidates.rows()
    assert set(Counter((row.prompt_id, row.draw) for row in rows).values()) == {1}
