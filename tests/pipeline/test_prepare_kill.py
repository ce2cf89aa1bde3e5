"""`chexalign data prepare` killed with SIGKILL again and again ends with the tables of one that was not."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from tests.trees import table_rows, write_table

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

STUDIES, KILLS = 700, 4
SCRIPT = """
import sys, time
from chexalign.cli.main import main
from chexalign.data.prepare import StudiesWorker

make = StudiesWorker.part

def slow(self, index):  # so that a kill comes between parts
    time.sleep(0.2)
    return make(self, index)

StudiesWorker.part = slow
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def table(tmp_path) -> Path:
    return write_table(tmp_path / "in/studies.jsonl", table_rows(tmp_path / "in", studies=STUDIES))


def command(table: Path, out: Path) -> list[str]:
    split = "sft=500,validation=50,test=100"
    return [
        sys.executable,
        "-c",
        SCRIPT,
        *("data", "prepare", "table", "--root", str(table)),
        "--split",
        split,
        "--out",
        str(out),
    ]


def parts(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "studies").glob("part-*.json"))


def test_killed_at_random_points_it_ends_with_the_same_table(table, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(table, whole), check=True, capture_output=True, timeout=120)
    rng, done = random.Random(20261122), []
    for _ in range(KILLS):
        with subprocess.Popen(command(table, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + 60
            while len(parts(killed)) <= len(done) and process.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        done = parts(killed)
        assert Manifest.load(killed / "studies") is None, "the kills came too late to prove anything"
    assert done
    ended = subprocess.run(command(table, killed), check=True, capture_output=True, text=True, timeout=120)
    assert "dropped: beyond_the_split" in ended.stdout
    first, second = Manifest.load(whole / "studies"), Manifest.load(killed / "studies")
    assert first is not None
    assert second is not None
    assert (first.content, first.dropped) == (second.content, second.dropped)
    assert [row.id for row in RunFolder(killed).studies.rows()] == [row.id for row in RunFolder(whole).studies.rows()]
    assert not list((killed / "studies").glob(".*.tmp"))
