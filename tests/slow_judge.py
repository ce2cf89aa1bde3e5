"""A judge that takes its time and writes down what it was asked, for tests that kill it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from chexalign.judges.base import Judgement, TextPair


class SlowJudge:
    """Words of the candidate, each pair after `seconds`; every pair that it was asked about is a line of `log`/asked.

    `log` is a folder, since a file that an option names is part of what the option says.
    """

    name, version, dear = "slow", "1", True

    def __init__(self, *, log: str, seconds: float = 0.0) -> None:
        self._log, self._seconds = Path(log) / "asked", seconds

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        return [self._judge(pair) for pair in pairs]

    def _judge(self, pair: TextPair) -> Judgement:
        time.sleep(self._seconds)
        line = f"{pair.candidate}|{pair.reference}\n"
        handle = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, line.encode())  # one write, so that lines of several processes do not mix
        os.close(handle)
        if "broken" in pair.candidate:
            raise ValueError(pair.candidate)
        n = len(pair.candidate.split())
        return Judgement(float(n), {"words": float(n)}, notes={"said": f"{n} words"})


def write_plugin(folder: Path) -> Path:
    """A folder that makes `slow` a judge of every process that has it on its path, as an installed package does."""
    about = folder / "slow_judge-1.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (folder / "slow_judge.py").write_text(Path(__file__).read_text())
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-judge\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[chexalign.judges]\nslow = slow_judge:SlowJudge\n")
    return folder
