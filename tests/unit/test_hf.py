"""Checkpoints and images that cannot be used: each is told in three lines, and by the command line with exit code 2."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chexalign.cli import main
from chexalign.data.base import Item
from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.errors import UserError
from chexalign.ids import file_sha256
from chexalign.policy.hf import HFPolicy, open_image, save_checkpoint
from chexalign.policy.processor import check_processor
from chexalign.types import ImageRef, Study
from chexalign.workflow import stages

SENTENCES = ["The heart is not enlarged. Both lungs are clear.", "There is a small effusion on the left side."]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny policy with random weights."""
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = train_tokenizer(SENTENCES, vocabulary=320)
    save_checkpoint(build_model(tokenizer, seed=3), build_processor(tokenizer), folder)
    return folder


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that the test may damage."""
    return Path(shutil.copytree(checkpoint, tmp_path / "policy"))


def change(path: Path, **values: Any) -> None:
    """Other values in a JSON file; None removes one."""
    found = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({k: v for k, v in found.items() if v is not None}))


def without_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def blind_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text("{% for m in messages %}{% for c in m.content %}{{ c.text }}{% endfor %}{% endfor %}")


def other_image_token(folder: Path) -> None:
    change(folder / "config.json", image_token_index=4_000)


def without_processor(folder: Path) -> None:
    (folder / "processor_config.json").unlink()


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no template": (without_template, "has no chat template"),
    "a template without images": (blind_template, "leaves out images"),
    "no image token": (other_image_token, "lacks the image token: the model's is number 4000, the processor's <image>"),
    "no processor": (without_processor, "lacks processor_config.json"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_checkpoint_that_cannot_be_asked_is_refused_before_its_weights_are_read(damage: str, folder: Path) -> None:
    hurt, told = DAMAGE[damage]
    hurt(folder)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=told) as caught:
        HFPolicy(folder)
    assert len(str(caught.value).splitlines()) == 3
    assert str(folder) in caught.value.what


def unknown_type(folder: Path) -> None:
    change(folder / "config.json", model_type="foovlm")


def no_type(folder: Path) -> None:
    change(folder / "config.json", model_type=None)


def bad_json(folder: Path) -> None:
    (folder / "config.json").write_text("{bad")


def bad_processor(folder: Path) -> None:
    (folder / "processor_config.json").write_text("{")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def bad_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"x" * 100)


UNREADABLE: dict[Callable[[Path], None], str] = {
    unknown_type: "does not know",
    no_type: "does not know",
    bad_json: "The configuration of the model",
    bad_processor: "The processor of the model",
    no_tokenizer: "The processor of the model",
    no_weights: "The weights of the model",
    bad_weights: "The weights of the model",
}


@pytest.mark.parametrize("hurt", UNREADABLE)
def test_a_checkpoint_that_cannot_be_read_is_told_in_three_lines(hurt: Callable[[Path], None], folder: Path) -> None:
    hurt(folder)
    with pytest.raises(UserError, match=UNREADABLE[hurt]) as caught:
        HFPolicy(folder)
    assert len(str(caught.value).splitlines()) == 3
    assert str(folder) in caught.value.what


@pytest.mark.parametrize("name", ["pad_token", "eos_token"])
def test_a_tokenizer_without_ends_or_padding_is_refused(name: str, checkpoint: Path) -> None:
    policy = HFPolicy(checkpoint)
    setattr(policy.tokenizer, name, None)
    with pytest.raises(UserError, match=f"has no {name}"):
        check_processor(policy.processor, policy.model.config, checkpoint)


def test_an_image_token_under_another_number_is_refused(checkpoint: Path) -> None:
    policy = HFPolicy(checkpoint)
    with pytest.raises(UserError, match="lacks the image token"):
        check_processor(policy.processor, SimpleNamespace(image_token_id=7), checkpoint)


# Images ---------------------------------------------------------------------------------------------------------------


def noise(path: Path, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (128, 128), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_an_image_is_opened_as_rgb(tmp_path: Path) -> None:
    assert open_image(noise(tmp_path / "a.png")).mode == "RGB"


def test_a_missing_image_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.png is missing") as caught:
        open_image(tmp_path / "a.png")
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("kind", ["empty", "text", "short", "flipped", "a folder"])
def test_an_unreadable_image_is_told(kind: str, tmp_path: Path) -> None:
    path = noise(tmp_path / "a.png")
    data = path.read_bytes()
    middle = len(data) // 2
    if kind == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "text": b"not an image",
                "short": data[:middle],
                "flipped": data[:middle] + bytes(b ^ 255 for b in data[middle : middle + 40]) + data[middle + 40 :],
            }[kind]
        )
    with pytest.raises(UserError, match=r"a\.png cannot be read") as caught:
        open_image(path)
    assert len(str(caught.value).splitlines()) == 3


# Through the command line ---------------------------------------------------------------------------------------------


class Handful:
    """A dataset of four studies with noise for images."""

    license, synthetic = "CC0-1.0", True

    def items(self) -> tuple[list[Item], dict[str, int]]:
        return [Item(f"s{i}", "sft", i) for i in range(4)], {}

    def study(self, item: Item, images: Path) -> Study:
        path = noise(images / f"{item.id}.png", item.payload)
        image = ImageRef(f"images/{path.name}", file_sha256(path), "frontal", 128, 128, synthetic=True)
        return Study(item.id, f"p{item.id}", (image,), "Cough.", SENTENCES[0], None, (), "sft", "handful", "CC0-1.0")


@pytest.fixture
def sft(folder: Path, runs_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[..., Any]:
    """`chexalign sft` on those studies; returns the exit code and what it said on stderr."""
    monkeypatch.setattr(stages, "make_dataset", lambda recipe: Handful())

    def call(*settings: str) -> tuple[int, list[str]]:
        settings = (
            f"policy={{model: {folder}, freeze: [vision]}}",
            "sft={epochs: 1, learning_rate: 1.0e-3, global_batch: 2}",
            "data.split={sft: 4, prefer: 1, validation: 1, test: 1}",
            "arms={dpo_label: {judge: chexpert, pairs: {rule: best_worst}}}",
            "evaluate.metrics=[chexpert]",
            "workers=1",
            *settings,
        )
        code = main.main(["sft", "quick", "--runs", str(runs_folder), *(p for s in settings for p in ("--set", s))])
        said = capsys.readouterr().err.replace("\r", "\n").splitlines()
        return code, [line for line in said if line.strip() and "|" not in line]

    return call


def test_a_sound_checkpoint_is_trained(sft: Callable[..., Any], runs_folder: Path) -> None:
    assert sft()[0] == 0
    assert (runs_folder / "quick" / "policy" / "sft" / "manifest.json").is_file()


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_ends_in_exit_code_2(
    damage: str, sft: Callable[..., Any], folder: Path, runs_folder: Path
) -> None:
    hurt, told = DAMAGE[damage]
    hurt(folder)
    code, said = sft()
    assert code == 2
    assert told in said[-3]
    assert not list((runs_folder / "quick").glob("policy/sft/*"))


def test_a_missing_image_ends_in_exit_code_2(sft: Callable[..., Any], runs_folder: Path, monkeypatch: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("chexalign.train.sft.SFTJob.run", lambda self: (_ for _ in ()).throw(UserError("a", "b", "c")))
        assert sft()[0] == 2  # the studies are there
    (runs_folder / "quick" / "images" / "s2.png").unlink()
    code, said = sft()
    assert code == 2
    assert "s2.png is missing" in said[-3]
    assert not list((runs_folder / "quick").glob("policy/sft/*"))


def test_a_batch_that_cannot_be_cut_ends_in_exit_code_2(sft: Callable[..., Any], runs_folder: Path) -> None:
    code, said = sft("sft.global_batch=4", "compute={per_device_batch: 3}")
    assert code == 2
    assert "cannot be cut" in said[-3]
    assert not list((runs_folder / "quick").glob("policy/sft/*"))
