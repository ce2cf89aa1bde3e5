"""Two processes on the CPU train as one does, and neither waits for ever when the other fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chexalign.stage import locked
from tests import launched

pytestmark = pytest.mark.pipeline

ROOT = Path(__file__).resolve().parents[2]
Launch = Callable[..., "subprocess.CompletedProcess[str]"]


def run(*arguments: str, seconds: float = 240) -> subprocess.CompletedProcess[str]:
    """`torchrun` with two processes, ended after so many seconds."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, float]]]:
    folder = tmp_path_factory.mktemp("two")
    done = run("-m", "tests.launched", "curves", str(folder))
    assert done.returncode == 0, done.stderr
    found: dict[str, list[dict[str, float]]] = json.loads((folder / "curves.json").read_text())
    return found


@pytest.mark.parametrize("case", launched.CASES)
def test_the_loss_curve_is_that_of_one_process(
    case: str, of_two: dict[str, list[dict[str, float]]], tmp_path: Path
) -> None:
    one, two = launched.curve(case, tmp_path), of_two[case]
    assert [row["step"] for row in one] == [row["step"] for row in two]
    losses = [[row.get("loss", row.get("eval_loss")) for row in log] for log in (one, two)]
    assert len(losses[0]) >= 3
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    norms = [[row["grad_norm"] for row in log if "loss" in row] for log in (one, two)]
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)


def test_two_processes_go_on_where_they_stopped(tmp_path: Path) -> None:
    done = run("-m", "tests.launched", "resumed", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "left").read_text() == "checkpoint-1"
    whole, again = json.loads((tmp_path / "logs.json").read_text())
    assert [row["loss"] for row in whole] == [row["loss"] for row in again]


def test_the_first_process_works_alone_and_decides(tmp_path: Path) -> None:
    done = run("-m", "tests.launched", "order", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for name in ("found-True.json", "found-False.json"):
        assert json.loads((tmp_path / name).read_text()) == [1.0, "first"]


def test_a_failure_in_one_process_ends_both(tmp_path: Path) -> None:
    done = run("-m", "tests.launched", "fails", str(tmp_path), seconds=120)
    assert done.returncode != 0
    assert "The loss is nan at step" in done.stderr


def test_a_failure_of_the_first_ends_the_ones_that_wait(tmp_path: Path) -> None:
    done = run("-m", "tests.launched", "first_fails", str(tmp_path), seconds=120)
    assert done.returncode != 0
    assert done.stderr.count("ValueError: told by the first process") >= 1
    assert not (tmp_path / "went on").exists()


def train_small(verb: str, runs: Path) -> subprocess.CompletedProcess[str]:
    """The verb over two processes, on the smallest recipe that has every stage."""
    settings = (
        "data.split={sft: 16, prefer: 8, validation: 4, test: 4}",
        "policy.tiny={vision_epochs: 1, language_epochs: 1, caption_epochs: 1, variants: 0}",
        "policy.lora={r: 2, alpha: 4}",
        "sft.epochs=1",
        "train.global_batch=4",
        "arms={a: {judge: rouge_l, pairs: {rule: best_worst}}}",
        "evaluate.metrics=[rouge_l]",
        "threads=1",
        "workers=1",
    )
    arguments = [part for setting in settings for part in ("--set", setting)]
    return run("-m", "chexalign.cli.main", verb, "quick", "--runs", str(runs), *arguments)


def test_the_command_tells_a_mistake_once(runs_folder: Path) -> None:
    with locked(runs_folder / "quick"):
        done = train_small("train", runs_folder)
    assert done.returncode != 0
    assert done.stderr.count("is in use by process") == 1


def test_the_command_trains_and_then_finds_all_done(runs_folder: Path) -> None:
    pytest.importorskip("peft")
    first, again = train_small("train", runs_folder), train_small("train", runs_folder)
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert first.stdout == again.stdout
    assert first.stdout.count("policy/a:") == 1
    assert "train a" in first.stderr
    assert "train a" not in again.stderr
    policy = runs_folder / "quick" / "policy" / "a"
    assert {"README.md", "adapter", "model.safetensors", "manifest.json"} <= {path.name for path in policy.iterdir()}
    assert not (policy / "steps").exists()
