"""docs/training.md names every key of training, its example runs, and the launch files say what they are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.recipe import ComputeSpec, LoraSpec, SFTSpec, TrainSpec

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
LAUNCHERS = sorted((ROOT / "recipes" / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize("block", [SFTSpec, TrainSpec, ComputeSpec, LoraSpec])
def test_every_key_is_named(block):
    names = {info.alias or name for name, info in block.model_fields.items()}
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    tokenizer = train_tokenizer(["No effusion. The heart is of normal size.", "Write the findings."], vocabulary=300)
    (tmp_path / "models" / "my-vlm").mkdir(parents=True)
    save_checkpoint(build_model(tokenizer, seed=1), build_processor(tokenizer), tmp_path / "models" / "my-vlm")
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((128, 128), 90, dtype=np.uint8)).save(tmp_path / "images" / "a.png")
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    exec(compile(example, "docs/training.md", "exec"), {"__name__": "example"})
    assert float(capsys.readouterr().out) == pytest.approx(0.6931, abs=1e-4)
    assert HFPolicy(tmp_path / "out").model.config.model_type == "llava"


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.stem)
def test_a_launch_file_opens_with_its_command_and_says_what_was_tested(path):
    head = path.read_text().split("\ncompute_environment:")[0]
    assert f"--config_file recipes/accelerate/{path.name}" in head
    assert "not tested on this hardware" in head.lower()
    assert yaml.safe_load(path.read_text())["mixed_precision"] == "no"  # the recipe decides it
    assert f"`recipes/accelerate/{path.name}`" in PAGE


def test_there_is_a_launch_file_for_each_way():
    assert [path.stem for path in LAUNCHERS] == ["ddp", "fsdp2", "zero3"]


def test_the_slurm_template_launches_the_command():
    text = (ROOT / "recipes" / "slurm" / "train.sbatch").read_text()
    assert "Not tested on this hardware." in text
    assert "-m chexalign.cli.main" in text
