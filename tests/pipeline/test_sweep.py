"""Sweeps from end to end: shared stages once, stopped and resumed, in two workers, the test split unread."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chexalign.cli import main
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from chexalign.sweep.search import DATABASE
from chexalign.sweep.trials import TrialFolder
from chexalign.types import Estimate
from tests import trees
from tests.made_up import install, install_letters, tiny_checkpoint

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

SIZES = {"prefer": 6, "validation": 20, "test": 3}
RECIPE = """\
run: swept
data: {{source: table, root: {root}, license: ours, split: {{prefer: 6, validation: 20, test: 3}}}}
policy: {{model: {model}}}
sample: {{n: 6, max_new_tokens: 24}}
judge: rouge_l
pairs: {{rule: best_worst}}
train: {{algorithm: dpo, beta: 0.1, learning_rate: 1.0e-3, global_batch: 3}}
evaluate: {{metrics: [rouge_l], bootstrap: 30}}
workers: 1
threads: 1
"""
GRID = ["--grid", "train.beta=0.01,0.5", "--grid", "train.learning_rate=1e-3"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """A recipe over studies in a table, whose references are letters: random texts hit some of them."""
    folder = tmp_path_factory.mktemp("swept")
    splits = [split for split, n in SIZES.items() for _ in range(n)]
    rows = []
    for i, split in enumerate(splits):
        trees.write_image(folder / f"img/{split}_{i}.png", seed=i)
        row = {"id": f"s{i}", "patient": f"p{i}", "images": [f"img/{split}_{i}.png"], "view": ["frontal"]}
        rows.append(row | {"findings": "a e i o u n r s t l d c m", "split": split})
    table = trees.write_table(folder / "table.csv", rows)
    path = folder / "swept.yaml"
    path.write_text(RECIPE.format(root=table, model=tiny_checkpoint(folder / "policy")))
    return path


def sweep(recipe: Path, runs: Path, *more: str) -> dict[str, Any]:
    """What is in sweep.json, less clock fields."""
    assert main.main(["sweep", str(recipe), "--runs", str(runs), *GRID, *more]) == 0
    path = runs / "swept.sweeps" / "sweep" / "sweep.json"
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent / DATABASE)] == [0o600, 0o600]
    found = json.loads(path.read_text())
    assert all(trial.pop("seconds") >= 0 for trial in found["trials"])
    return found


def test_killed_and_resumed_with_one_worker_equals_uninterrupted_with_two(recipe, tmp_path, capsys):
    whole = sweep(recipe, tmp_path / "a", "--workers", "2")
    runs = tmp_path / "b"
    begun = [runs / "swept.sweeps" / "trials" / "pairs" / trial["name"] for trial in whole["trials"]]
    assert ended_by(signal.SIGINT, begun[0], recipe, runs, "--workers", "2") == main.INTERRUPTED
    shutil.rmtree(runs / "swept.sweeps" / "trials")
    assert ended_by(signal.SIGKILL, begun[1], recipe, runs) == -signal.SIGKILL
    first = runs / "swept.sweeps" / "trials" / "policy" / whole["trials"][0]["name"] / "model.safetensors"
    written = first.stat().st_mtime_ns
    capsys.readouterr()
    assert sweep(recipe, runs) == whole
    assert first.stat().st_mtime_ns == written
    err = capsys.readouterr().err
    assert ("trial 0 (" in err, "trial 1 (" in err) == (False, True)
    _check_content(whole, tmp_path / "a")


def ended_by(number: int, path: Path, recipe: Path, runs: Path, *more: str) -> int:
    """The exit code of a sweep that gets a signal once there is something at the path; it has 20 s to end."""
    command = [sys.executable, "-m", "chexalign.cli.main", "sweep", str(recipe), "--runs", str(runs), *GRID, *more]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not path.exists():
        assert process.poll() is None, "the sweep ended before it could be stopped"
        time.sleep(0.02)
    process.send_signal(number)
    return process.wait(20)


def _check_content(found: dict[str, Any], runs: Path) -> None:
    assert [t["parameters"] for t in found["trials"]] == [
        {"train.beta": 0.01, "train.learning_rate": 1e-3},
        {"train.beta": 0.5, "train.learning_rate": 1e-3},
    ]
    assert all(t["state"] == "done" for t in found["trials"])
    for row in [e for t in found["trials"] for e in t["estimates"]] + found["sft"] + found["cost_of_raw"]:
        estimate = Estimate(**row)
        assert (estimate.split, estimate.n) == ("validation", SIZES["validation"])
    trials = [TrialFolder(runs / "swept", runs / "swept.sweeps" / "trials", t["name"]) for t in found["trials"]]
    extras = [manifest.extra for run in trials if (manifest := Manifest.load(run.ref_logps))]
    n_candidates = sum(m.rows for run in trials[:1] if (m := Manifest.load(run.ref_logps)))
    assert sorted(extra["computed"] for extra in extras) == [0, n_candidates]
    assert sorted(extra["from_cache"] for extra in extras) == [0, n_candidates]


def test_the_test_split_is_not_read(recipe, tmp_path):
    runs = tmp_path / "runs"
    assert main.main(["judge", str(recipe), "--runs", str(runs)]) == 0
    before = {path: path.stat().st_mtime_ns for path in (runs / "swept").rglob("*") if path.is_file()}
    images = sorted((recipe.parent / "img").glob("test_*"))
    assert len(images) == SIZES["test"]
    kept = [image.read_bytes() for image in images]
    try:
        for image in images:
            image.write_bytes(b"no image")
        found = sweep(recipe, runs)
    finally:
        for image, content in zip(images, kept, strict=True):
            image.write_bytes(content)
    validation = {s.id for s in RunFolder(runs / "swept").studies.iter_rows() if s.split == "validation"}
    for name in ("sft", *(t["name"] for t in found["trials"])):
        run = TrialFolder(runs / "swept", runs / "swept.sweeps" / "trials", name)
        assert {p.study_id for p in run.predictions(name).iter_rows()} == validation
    after = {path: path.stat().st_mtime_ns for path in (runs / "swept").rglob("*") if path.is_file()}
    lock = runs / "swept" / ".lock"
    assert {p: t for p, t in after.items() if p != lock} == {p: t for p, t in before.items() if p != lock}


def test_failed_trials_stop_no_others(tmp_path, runs_folder, monkeypatch, capsys):
    install_letters(monkeypatch)
    install(tmp_path, monkeypatch)
    settings = (
        *(f"policy={{model: {tiny_checkpoint(tmp_path / 'policy')}}}", "sft=null", "workers=1", "threads=1"),
        *("data.split={prefer: 8, validation: 4, test: 4}", "sample.n=3", "sample.max_new_tokens=8"),
        *("evaluate.bootstrap=20", "evaluate.metrics=[rouge_l]"),
        "train={algorithm: dpo, beta: 0.1, learning_rate: 1.0e-3, global_batch: 2}",
        "arms={one: {judge: letters, pairs: {rule: best_worst}}}",
    )
    command = ["sweep", "quick", "--runs", str(runs_folder), *(word for s in settings for word in ("--set", s))]
    assert main.main([*command, "--grid", "train.learning_rate=1e30,1e-3", "--json"]) == 0
    failed, done = json.loads(capsys.readouterr().out)["trials"]
    assert (failed["state"], failed["estimates"], done["state"]) == ("failed", [], "done")
    assert "The loss is nan" in failed["reason"]
    assert main.main([*command, "--name", "none", "--grid", "pairs.min_margin=1000000"]) == 2
    err = capsys.readouterr().err
    assert "None of the 1 trials came to its end." in err
    assert json.loads((runs_folder / "quick.sweeps" / "none" / "sweep.json").read_text())["picked"] is None
    draws = ["--name", "draws", "--tpe", "1", "--range", "train.beta=0.01..0.5:log"]
    assert main.main([*command, *draws]) == 0
    out = capsys.readouterr().out
    assert "[no interval]" in out
    assert "fewer than 20" in out
