"""A judge that is killed with SIGKILL at random moments: every score exactly once, none lost, the store whole."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from tests.scored_runs import run_with
from tests.slow_judge import write_plugin

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

KILLS, WORKERS, SECONDS = 20, 2, 0.01
STUDIES, DRAWS, PART_SIZE = 60, 4, 16

SCRIPT = f"""
import multiprocessing
import sys
from pathlib import Path

from chexalign import processes
from chexalign.judges.stage import CandidateTexts, ScoresWorker, score_store_folder, with_calls
from chexalign.recipe import JudgeSpec
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey, locked, run_parts

if __name__ == "__main__":
    # Forked from here, and not from a server that first imports torch: that would be most of this test's time.
    processes.context = lambda: multiprocessing.get_context("fork")
    run, log, seconds, workers = RunFolder(Path(sys.argv[1])), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    judge = JudgeSpec(name="slow", options={{"log": log, "seconds": seconds}})
    worker = ScoresWorker(judge, CandidateTexts(run), {PART_SIZE}, score_store_folder(run))
    key, n_parts = StageKey("scores", {{}}, {{}}, 1), {-(-STUDIES * DRAWS // PART_SIZE)}
    print("begins", flush=True)
    with locked(run.root):
        with_calls(run.scores("slow"), run_parts(run.scores("slow"), worker, key=key, n_parts=n_parts, workers=workers))
"""


def made(root: Path) -> RunFolder:
    """Candidates of which every fourth repeats another of its study; the references of two studies are equal."""
    drawn = [[f"report {i // 2} {'word ' * (j % 3)}end" for j in range(DRAWS)] for i in range(STUDIES)]
    return run_with(root, [f"reference {i // 2}" for i in range(STUDIES)], drawn)


class Judging:
    """Starts the script, kills it, and lets it end."""

    def __init__(self, folder: Path, run: RunFolder) -> None:
        self.script, self.log, self.run = folder / "judging.py", folder, run
        self.script.write_text(SCRIPT)
        path = os.pathsep.join([str(write_plugin(folder / "plugin")), os.environ.get("PYTHONPATH", "")])
        self.environment = os.environ | {"PYTHONPATH": path, "JUDGING_SCRIPT": str(self.script)}

    def command(self, workers: int) -> list[str]:
        return [sys.executable, str(self.script), str(self.run.root), str(self.log), str(SECONDS), str(workers)]

    def asked(self) -> list[str]:
        return asked.read_text().splitlines() if (asked := self.log / "asked").exists() else []

    def kill_after(self, more: int) -> None:
        """Kills it once the judge has been asked about so many more texts, wherever it is then."""
        wanted = len(self.asked()) + more
        with subprocess.Popen(self.command(WORKERS), stderr=subprocess.DEVNULL, env=self.environment) as process:
            while len(self.asked()) < wanted and process.poll() is None:
                time.sleep(SECONDS / 3)
            process.send_signal(signal.SIGKILL)
        end = time.monotonic() + 5
        while self.running():
            assert time.monotonic() < end, "a worker of the killed run goes on"
            time.sleep(0.02)

    def finish(self, workers: int) -> Manifest:
        subprocess.run(self.command(workers), check=True, capture_output=True, timeout=60, env=self.environment)
        manifest = Manifest.load(self.run.scores("slow").folder)
        assert manifest is not None
        return manifest

    def running(self) -> bool:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if f"JUDGING_SCRIPT={self.script}".encode() in (folder / "environ").read_bytes():
                    return True
            except OSError:  # ended meanwhile, or another user's
                continue
        return False


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_killed_twenty_times_every_score_is_there_once(tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = Judging(tmp_path / "whole", made(tmp_path / "whole" / "runs" / "a"))
    first = whole.finish(workers=1)
    distinct = Counter(whole.asked())
    assert set(distinct.values()) == {1}, "without a kill no text is asked about twice"
    judging = Judging(tmp_path / "killed", made(tmp_path / "killed" / "runs" / "a"))
    rng, kills = random.Random(20261122), 0
    for _ in range(KILLS):
        judging.kill_after(rng.randint(0, 9))
        kills += Manifest.load(judging.run.scores("slow").folder) is None
    assert kills == KILLS, "some kills came too late to prove anything"
    second = judging.finish(workers=WORKERS)
    assert (second.content, second.rows, second.dropped) == (first.content, STUDIES * DRAWS, {})
    rows = judging.run.scores("slow").rows()
    assert Counter(row.candidate_id for row in rows) == Counter(c.id for c in judging.run.candidates.iter_rows())
    assert rows == whole.run.scores("slow").rows()
    assert {row.status for row in rows} == {"ok"}
    again = Judging(tmp_path / "killed", made(tmp_path / "killed" / "runs" / "b"))
    n_asked = len(again.asked())
    third = again.finish(workers=WORKERS)
    assert len(again.asked()) == n_asked, "the store holds every text, so another run asks about none"
    assert third.extra["calls"] | {"saved": 1.0} == third.extra["calls"]
    assert third.extra["calls"]["stored"] == len(distinct)
