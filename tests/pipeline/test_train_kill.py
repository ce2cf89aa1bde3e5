"""A training that is killed with SIGKILL again and again ends in the weights and the log of one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chexalign.train.resume import SEAL, STEPS, WEIGHTS, last_sealed

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
N_STEPS, KILLS = 24, 4

# Trains and saves after every step. Dies by itself inside the save of the step that
# KILL_IN_SAVE names: after the weights are written, or with everything written but the seal.
SCRIPT = f"""
import json, os, signal, sys
from pathlib import Path

import torch

from chexalign.train import callbacks, trainer
from chexalign.train.freeze import freeze
from tests import fits

callbacks.SAVE_EVERY_SECONDS = callbacks._SAVE_SHARE = 0.0
folder, name = Path(sys.argv[1]), sys.argv[2]
place, _, doomed = os.environ.get("KILL_IN_SAVE", "").partition(" ")


def deadly(function):
    def call(*arguments):
        if f"checkpoint-{{doomed}}" in str(arguments):
            if place == "weights":
                function(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)

    return call


if place == "weights":
    trainer.save_state = deadly(trainer.save_state)
elif place == "seal":
    trainer.seal = deadly(trainer.seal)

model = fits.model_of()
freeze(model, ["vision"])
rows, vision = fits.rows_for(name, model)
log = fits.train(
    model, rows, fits.OBJECTIVES[name][0], folder, vision=vision,
    epochs={N_STEPS} / 2, weight_decay=0.01, per_device=2,
)
torch.save(model.state_dict(), folder / "final.pt")
kept = [{{k: v for k, v in row.items() if k not in callbacks.CLOCK_FIELDS}} for row in log.rows]
(folder / "log.json").write_text(json.dumps(kept))
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "train.py"
    path.write_text(SCRIPT)
    return path


def started(script: Path, folder: Path, name: str, **more: str) -> subprocess.Popen[bytes]:
    """The training, as it starts."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), **more}
    command = [sys.executable, str(script), str(folder), name]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def finish(script: Path, folder: Path, name: str) -> tuple[bytes, list[dict[str, Any]]]:
    """Final weights and log of a training that goes on to its end."""
    with started(script, folder, name) as process:
        assert process.wait(timeout=120) == 0
    return state_of(folder / "final.pt"), json.loads((folder / "log.json").read_text())


def state_of(path: Path) -> bytes:
    """The bytes of all tensors by name."""
    import torch

    state = torch.load(path, weights_only=True)
    return b"".join(name.encode() + tensor.numpy().tobytes() for name, tensor in sorted(state.items()))


def killed(script: Path, folder: Path, name: str, *, step: int, after: float) -> None:
    """Kills a training some seconds after it has reached a step."""
    end = time.monotonic() + 120
    with started(script, folder, name) as process:
        while newest(folder) < step:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.005)
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def newest(folder: Path) -> int:
    """The step of the newest checkpoint, whole or not; 0 where there is none."""
    return max([int(c.name.rpartition("-")[2]) for c in (folder / STEPS).glob("checkpoint-*")], default=0)


@pytest.fixture(scope="module", params=["dpo", "sft"])
def whole(
    request: pytest.FixtureRequest, script: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, tuple[bytes, list[dict[str, Any]]]]:
    """The name of an objective, and what it ends in when nothing stops it."""
    return request.param, finish(script, tmp_path_factory.mktemp("whole"), request.param)


def test_killed_at_random_moments_it_ends_in_the_same_weights(whole: Any, script: Path, tmp_path: Path) -> None:
    name, truth = whole
    rng, step = random.Random(20261122), 0
    for _ in range(KILLS):
        step += rng.randint(1, 4)
        killed(script, tmp_path, name, step=step, after=rng.uniform(0.0, 0.1))  # a step and its save take that long
        assert newest(tmp_path) < N_STEPS - 1, "the kill came too late to prove anything"
        step = newest(tmp_path)
    assert finish(script, tmp_path, name) == truth
    assert len(truth[1]) == N_STEPS


@pytest.mark.parametrize("place", ["weights", "seal"])
def test_killed_inside_a_save_it_goes_on_from_the_one_before(
    whole: Any, place: str, script: Path, tmp_path: Path
) -> None:
    name, truth = whole
    with started(script, tmp_path, name, KILL_IN_SAVE=f"{place} 7") as process:
        assert process.wait(timeout=60) == -signal.SIGKILL
    half = tmp_path / STEPS / "checkpoint-7"
    assert (half / WEIGHTS).is_file()
    assert not (half / SEAL).exists()
    assert last_sealed(tmp_path / STEPS, "f") == tmp_path / STEPS / "checkpoint-6"
    assert finish(script, tmp_path, name) == truth


def test_a_damaged_checkpoint_is_not_taken_up(whole: Any, script: Path, tmp_path: Path) -> None:
    name, truth = whole
    killed(script, tmp_path, name, step=8, after=0.0)
    sealed = last_sealed(tmp_path / STEPS, "f")
    assert sealed is not None
    optimizer = sealed / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:-100])
    assert last_sealed(tmp_path / STEPS, "f") != sealed
    assert finish(script, tmp_path, name) == truth
