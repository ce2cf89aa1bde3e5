"""A stage that is killed with SIGKILL again and again ends with the table of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chexalign.store import Manifest, Table
from chexalign.types import Prompt

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

N_PARTS, PART_SECONDS, KILLS = 40, 0.1, 5
QUIET_SECONDS = 2.0  # by then every process of a killed run has ended

SCRIPT = f"""
import sys, time
from pathlib import Path

from chexalign.spread import PartResult
from chexalign.stage import StageKey, locked, run_parts
from chexalign.store import Table
from chexalign.types import Prompt


class Slow:
    def setup(self):
        print("setup", flush=True)

    def part(self, index):
        time.sleep({PART_SECONDS})
        rows = [Prompt(f"p{{index}}-{{i}}", "s", "findings", "Findings: é", "findings@1") for i in range(3)]
        return PartResult(rows, {{"blank": index % 2}})


if __name__ == "__main__":
    root = Path(sys.argv[1])
    with locked(root):
        run_parts(
            Table(root / "prompts", Prompt),
            Slow(),
            key=StageKey("prompts", {{}}, {{}}, 1),
            n_parts={N_PARTS},
            workers=int(sys.argv[2]),
        )
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "slow_stage.py"
    path.write_text(SCRIPT)
    return path


@contextmanager
def started(script: Path, root: Path) -> Iterator[subprocess.Popen]:
    """The stage with two workers, one of which is set up; killed at the end of the block."""
    command = [sys.executable, str(script), str(root), "2"]
    environment = os.environ | {"STAGE_SCRIPT": str(script)}  # by which `running` knows its workers
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def finish(script: Path, root: Path, *, workers: int) -> Manifest:
    command = [sys.executable, str(script), str(root), str(workers)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    manifest = Manifest.load(root / "prompts")
    assert manifest is not None
    return manifest


def running(script: Path) -> list[int]:
    """Processes that descend from a run of the script, also when it is gone."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"STAGE_SCRIPT={script}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def wait_until_all_ended(script: Path) -> None:
    end = time.monotonic() + QUIET_SECONDS
    while running(script):
        assert time.monotonic() < end, f"of the killed run there still runs {running(script)}"
        time.sleep(0.05)


def wait_for_parts(root: Path, n: int) -> None:
    end = time.monotonic() + 60
    while sum(name.endswith(".json") for name in files(root)) < n:
        assert time.monotonic() < end, "no part was written"
        time.sleep(0.01)


def files(root: Path) -> dict[str, int]:
    folder = root / "prompts"
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} if folder.is_dir() else {}


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_killed_at_random_points_the_stage_ends_with_the_same_table(script, tmp_path):
    whole, root = tmp_path / "whole", tmp_path / "killed"
    first = finish(script, whole, workers=1)
    rng = random.Random(20261122)
    done = []
    for _ in range(KILLS):
        with started(script, root) as process:
            wait_for_parts(root, 1 + (done[-1] if done else 0))  # however slow the machine is
            time.sleep(rng.uniform(0, 2.5) * PART_SECONDS)
            process.send_signal(signal.SIGKILL)
        wait_until_all_ended(script)
        before = files(root)
        time.sleep(3 * PART_SECONDS)
        assert files(root) == before, "something still writes"
        assert "manifest.json" not in before
        done.append(sum(name.endswith(".json") for name in before))
    assert 0 < done[1] < done[-1] < N_PARTS, "the kills came too early or too late to prove anything"
    second = finish(script, root, workers=2)
    assert (second.content, second.rows, second.dropped) == (first.content, first.rows, first.dropped)
    assert Table(root / "prompts", Prompt).rows() == Table(whole / "prompts", Prompt).rows()
