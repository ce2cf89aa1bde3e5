"""A run whose judge holds its model in a folder: scored by worker processes, and found again by the next run."""

from __future__ import annotations

from pathlib import Path

import pytest

from chexalign.recipe import JudgeSpec, Recipe
from chexalign.store import Manifest
from chexalign.workflow import Workflow, preference
from tests.chat_models import tiny_llama
from tests.recipes import plain
from tests.scored_runs import run_with

pytestmark = pytest.mark.pipeline


def test_worker_processes_score_by_a_model_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preference, "SCORES_PER_PART", 6)
    folder = tiny_llama(tmp_path / "one" / "model")
    (prompt := tmp_path / "prompt.txt").write_text("Rate {candidate} against {reference}.")
    how = {"prompt": str(prompt), "worst": 0, "best": 9, "pattern": r"(\d)", "dtype": "fp32", "max_new_tokens": 6}
    manifests, rows = [], []
    for name in ("a", "b"):
        run = run_with(
            tmp_path / "runs" / name, ["Clear."] * 9, [[f"report {i} {j}" for j in range(2)] for i in range(9)]
        )
        work = Workflow(Recipe.model_validate({**plain(), "workers": 2}), run)
        for table in (run.studies, run.candidates):
            work._known[repr((table.folder.name, (), {}))] = Manifest.load(table.folder)
        manifests.append(work.scores(JudgeSpec(name="llm", options={**how, "folder": str(folder), "device": "cpu"})))
        rows.append(run.scores("llm").rows())
        (elsewhere := tmp_path / f"after {name}").mkdir()
        folder = folder.rename(elsewhere / "model")
        how["batch_size"] = 3
    first, second = (manifest.extra["calls"] for manifest in manifests)
    assert (first["computed"], first["stored"], second["computed"], second["stored"]) == (18, 0, 0, 18)
    assert rows[0] == rows[1]
    assert manifests[0].fingerprint == manifests[1].fingerprint
    assert {row.status for row in rows[0]} <= {"ok", "unparsed"}
    assert len({dict(row.notes)["answer"] for row in rows[0]}) > 5
