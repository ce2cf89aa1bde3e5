"""A checkpoint goes in, is trained in part or through adapters, and a checkpoint comes out that transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from chexalign import artifact
from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.losses.dpo import DPO
from chexalign.policy.base import Ask
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.recipe import LoraSpec
from chexalign.stage import StageKey
from chexalign.train.card import About
from chexalign.train.examples import Target, encode
from chexalign.train.fit import FitLog, fit
from chexalign.train.objective import Pairs
from chexalign.train.pack import pack
from chexalign.train.prefix import shared_logps
from chexalign.train.rows import Row
from chexalign.train.settings import Settings
from chexalign.train.trainee import Trainee
from chexalign.train.vision import Pixels, TowerFeatures

TEXTS = ("The heart is not enlarged. Both lungs are clear.", "There is a small effusion on the left side.")
KEY = StageKey("train", {}, {}, 1)
ABOUT = About("a", "sft", "dpo", {"beta": 0.1}, None, ("vision",), "0", ("none",), True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tokenizer = train_tokenizer(TEXTS, vocabulary=300)
    model = build_model(tokenizer, seed=3)
    with torch.no_grad():  # running means as a trained tower has them
        for name, buffer in model.named_buffers():
            if "running_mean" in name:
                buffer += 0.1
    save_checkpoint(model, build_processor(tokenizer), folder)
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "a.png"
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (128, 128), dtype=np.uint8)).save(path)
    return path


def trained(trainee: Trainee, image: Path, folder: Path, **changes: Any) -> FitLog:
    """Three updates of DPO on one pair, whose reference is the policy before them."""
    (example,) = encode(trainee.policy, [Target("p", Ask("Findings:", (image,)), TEXTS)])
    vision = trainee.vision([example.images])
    with torch.no_grad():
        sums = logps_of(trainee.policy.model, trainee.policy, image)
    settings = Settings(learning_rate=1e-2, global_batch=1, epochs=3, **changes)
    return fit(
        trainee.model,
        [Row(example, tuple(sums.tolist()))],
        Pairs(DPO(beta=0.1)),
        settings,
        vision=vision,
        pad_id=trainee.policy.tokenizer.pad_token_id,
        folder=folder,
        label="test",
        fingerprint="f",
        seed=1,
        starts_at_ref=True,
    )


@torch.no_grad()
def logps_of(model: Any, policy: HFPolicy, image: Path) -> torch.Tensor:
    (example,) = encode(policy, [Target("p", Ask("Findings:", (image,)), TEXTS)])
    inputs = Pixels(policy.model, policy.processor).inputs([example.images])
    return shared_logps(model.eval(), pack([example], pad_id=policy.tokenizer.pad_token_id), inputs).sums()[0]


@pytest.mark.parametrize("lora", [None, LoraSpec(r=4, alpha=8)])
def test_what_is_written_answers_as_what_was_trained(lora: Any, base: Path, image: Path, tmp_path: Path) -> None:
    if lora is not None:
        pytest.importorskip("peft")
    trainee = Trainee.load(base, ["vision"], lora, seed=1)
    before = logps_of(trainee.model, trainee.policy, image)
    log = trained(trainee, image, tmp_path)
    after = logps_of(trainee.model, trainee.policy, image)
    assert not torch.allclose(before, after, rtol=1e-3)
    trainee.finish(tmp_path, KEY, log, about=ABOUT, rows=1)
    torch.testing.assert_close(logps_of(HFPolicy(tmp_path).model, trainee.policy, image), after, rtol=1e-5, atol=1e-4)
    assert artifact.finished(tmp_path, KEY) is not None
    assert (tmp_path / "README.md").is_file()
    assert (tmp_path / "adapter").is_dir() == (lora is not None)


def test_an_adapter_of_an_earlier_training_does_not_stay(base: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    trainee = Trainee.load(base, ["vision"], None, seed=1)
    trainee.finish(tmp_path, KEY, FitLog([], 0.0), about=ABOUT, rows=1)
    assert not (tmp_path / "adapter").exists()


def test_gathered_weights_are_written_in_the_place_of_a_shards(base: Path, tmp_path: Path) -> None:
    trainee = Trainee.load(base, ["vision"], None, seed=1)
    weights = {name: tensor.clone() for name, tensor in trainee.model.state_dict().items()}
    with torch.no_grad():
        for p in trainee.model.parameters():
            p.zero_()
    trainee.finish(tmp_path, KEY, FitLog([], 0.0, weights=weights), about=ABOUT, rows=1)
    written = HFPolicy(tmp_path).model.state_dict()
    assert all(torch.equal(written[name], tensor) for name, tensor in weights.items())


def test_a_tower_that_learns_is_given_pixels_and_keeps_its_running_means(
    base: Path, image: Path, tmp_path: Path
) -> None:
    frozen, free = Trainee.load(base, ["vision"], None, seed=1), Trainee.load(base, [], None, seed=1)
    assert isinstance(frozen.vision([(str(image),)]), TowerFeatures)
    assert isinstance(free.vision([(str(image),)]), Pixels)
    before = {name: tensor.clone() for name, tensor in free.model.state_dict().items() if "vision_tower" in name}
    log = trained(free, image, tmp_path)
    assert log.rows[0]["loss"] == pytest.approx(0.6931, abs=1e-4)
    after = free.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items() if "running" in name)
    moved = [name for name, tensor in before.items() if not torch.equal(after[name], tensor)]
    assert len(moved) > len(before) / 3


def test_bf16_and_gradient_checkpointing_reach_the_model(base: Path, image: Path, tmp_path: Path) -> None:
    losses = {}
    for name, changes in {"plain": {}, "bf16": {"precision": "bf16"}, "gc": {"gradient_checkpointing": True}}.items():
        trainee = Trainee.load(base, ["vision"], None, seed=1)
        log = trained(trainee, image, tmp_path / name, **changes)
        losses[name] = [row["loss"] for row in log.rows]
        assert log.checks["prefix_sharing"]["shared"] is True
    assert losses["gc"] == pytest.approx(losses["plain"], rel=1e-6)
    assert losses["bf16"] != losses["plain"]
    assert losses["bf16"] == pytest.approx(losses["plain"], abs=0.05)
