"""The studies of a collection are the same whatever the number of workers, and after a SIGKILL at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chexalign.store import Manifest
from tests import trees

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

PATIENTS, EXAMS, KILLS = 400, 4, 3
_WAIT_SECONDS = 180
_STAGE = """
import sys, pathlib
from chexalign.recipe.load import find_recipe, load_recipe
from chexalign.run_folder import RunFolder
from chexalign.workflow import Workflow
if __name__ == "__main__":
    recipe = load_recipe(find_recipe("chexalign/chexagent2_mimic"), sys.argv[2:])
    Workflow(recipe, RunFolder(pathlib.Path(sys.argv[1]))).studies()
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees.mimic_tree(tmp_path_factory.mktemp("studies") / "mimic", patients=PATIENTS, exams=EXAMS)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "stage.py"
    path.write_text(_STAGE)
    return path


def command(script: Path, run: Path, root: Path, workers: int, *more: str) -> list[str]:
    return [sys.executable, str(script), str(run), f"data.root={root}", f"workers={workers}", *more]


def finish(script: Path, run: Path, root: Path, workers: int, *more: str) -> Manifest:
    done = subprocess.run(
        command(script, run, root, workers, *more),
        capture_output=True,
        text=True,
        timeout=_WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = Manifest.load(run / "studies")
    assert manifest is not None
    return manifest


def parts(run: Path) -> int:
    return len(list((run / "studies").glob("part-*.json")))


def test_workers_and_kills_change_nothing(root: Path, script: Path, tmp_path: Path) -> None:
    whole = finish(script, tmp_path / "one", root, 1, "data.prior=true")
    assert whole.rows + sum(whole.dropped.values()) == PATIENTS * EXAMS
    killed, rng, seen = tmp_path / "killed", random.Random(20261122), []
    for _ in range(KILLS):
        with subprocess.Popen(
            command(script, killed, root, 2, "data.prior=true"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            before, deadline = parts(killed), time.monotonic() + _WAIT_SECONDS
            while process.poll() is None and parts(killed) <= before and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(rng.random() * 0.05)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        seen.append(parts(killed))
    assert seen == sorted(seen)
    assert 0 < seen[0] < whole.parts
    again = finish(script, killed, root, 2, "data.prior=true")
    assert (again.content, again.rows, again.dropped, again.parts) == (
        *(whole.content, whole.rows, whole.dropped, whole.parts),
    )
