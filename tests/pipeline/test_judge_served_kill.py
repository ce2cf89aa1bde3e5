"""A run whose judge is behind a server, killed with SIGKILL at random moments: every score once, little asked twice."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from chexalign.store import Manifest
from tests.fault_server import Body, FaultServer, Reply, answer, prompt_of, serve
from tests.scored_runs import run_with

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("openai") is None, reason="the extra `endpoint` is not installed"),
]

KILLS, CONCURRENCY, THREADS = 8, 4, 3
STUDIES, DRAWS, PART_SIZE = 40, 4, 10

SCRIPT = f"""
import sys
from pathlib import Path

from chexalign.judges.stage import CandidateTexts, ScoresWorker, score_store_folder, with_calls
from chexalign.recipe import JudgeSpec
from chexalign.run_folder import RunFolder
from chexalign.spread import Threads
from chexalign.stage import StageKey, locked, run_parts

run, url, prompt = RunFolder(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
options = {{"url": url, "model": "m", "concurrency": {CONCURRENCY}, "prompt": prompt, "worst": 0, "best": 9}}
judge = JudgeSpec(name="llm", options=options | {{"pattern": r"(\\d)"}})
worker = ScoresWorker(judge, CandidateTexts(run), {PART_SIZE}, score_store_folder(run))
key, n_parts = StageKey("scores", {{}}, {{}}, 1), {-(-STUDIES * DRAWS // PART_SIZE)}
table, spread = run.scores("llm"), Threads({THREADS}, worker.close)
with locked(run.root):
    with_calls(table, run_parts(table, worker, key=key, n_parts=n_parts, spread=spread))
"""


def says(body: Body, _: int) -> Reply:
    return Reply(answer(body, [str(prompt_of(body).count("word"))]), delay_s=0.02)


class Judging:
    """Starts the script, kills it, and lets it end."""

    def __init__(self, folder: Path, server: FaultServer) -> None:
        drawn = [[f"report {i} {'word ' * j}" for j in range(DRAWS)] for i in range(STUDIES)]
        self.run = run_with(folder / "runs" / "a", [f"reference {i}" for i in range(STUDIES)], drawn)
        self.server, script, prompt = server, folder / "judging.py", folder / "prompt.txt"
        script.write_text(SCRIPT)
        prompt.write_text("Rate {candidate} against {reference}.")
        self.command = [sys.executable, str(script), str(self.run.root), server.url, str(prompt)]

    def kill_after(self, more: int) -> None:
        """Kills it once the server has been asked so many more times, wherever it is then."""
        wanted = len(self.server.bodies) + more
        with subprocess.Popen(self.command, stderr=subprocess.DEVNULL, env=os.environ) as process:
            while len(self.server.bodies) < wanted and process.poll() is None:
                time.sleep(0.005)
            process.kill()


def test_killed_again_and_again_every_score_is_there_once(tmp_path: Path) -> None:
    rng = random.Random(20261123)
    with serve(says) as server:
        judging = Judging(tmp_path, server)
        for _ in range(KILLS):
            judging.kill_after(rng.randint(1, 14))
            assert Manifest.load(judging.run.scores("llm").folder) is None, "the kill came too late to prove anything"
        subprocess.run(judging.command, check=True, capture_output=True, timeout=60)
        assert server.most_at_once <= CONCURRENCY * 2, "a killed client's last requests may still be under way"
    rows = judging.run.scores("llm").rows()
    assert Counter(row.candidate_id for row in rows) == Counter(c.id for c in judging.run.candidates.iter_rows())
    assert {row.candidate_id: row.value for row in rows} == {
        f"c{i}-{j}": pytest.approx(j / 9) for i in range(STUDIES) for j in range(DRAWS)
    }
    asked = Counter(prompt_of(body) for body in server.bodies)
    assert len(asked) == STUDIES * DRAWS
    # A kill loses the blocks that its threads were at, which are parts here.
    assert len(server.bodies) - len(asked) <= KILLS * THREADS * 2 * PART_SIZE
