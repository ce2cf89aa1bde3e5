"""A made-up collection in the place of a recipe's, and a policy with random weights, for tests of the command line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from chexalign.cli import checks
from chexalign.data.base import DropStudyError, Item
from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.ids import file_sha256
from chexalign.judges import stage as judging
from chexalign.judges.base import Judgement
from chexalign.policy.hf import save_checkpoint
from chexalign.types import ImageRef, Study
from chexalign.workflow import datasets


class FolderDataset:
    """Studies with one image each in a folder; those that a test names cannot be made."""

    synthetic, license = False, "CC0"
    root = Path()
    refused: tuple[str, ...] = ()

    def __init__(self, **options: object) -> None:
        self.split = options["split"]

    def items(self):
        names = [name for name, n in self.split.items() for _ in range(n)]
        return [Item(f"s{i:03}", name, None) for i, name in enumerate(names)], {}

    def study(self, item: Item, images: Path) -> Study:
        if item.id in self.refused:
            raise DropStudyError("findings_empty")
        path = self.root / "x.png"
        image = ImageRef(str(path), file_sha256(path), "frontal", 64, 64)
        text = "cough" if item.id.endswith("1") else None
        return Study(item.id, item.id, (image,), text, "Clear.", None, (), item.split, "made", self.license)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> type[FolderDataset]:
    """Makes every recipe's dataset this one, with its image in the folder."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "x.png")
    monkeypatch.setattr(FolderDataset, "root", folder)
    real = datasets.registry

    def registry(kind):
        return SimpleNamespace(get=lambda _: FolderDataset) if kind == "datasets" else real(kind)

    monkeypatch.setattr(datasets, "registry", registry)
    return FolderDataset


class Letters:
    """A judge to which more letters are better, so that random texts differ."""

    name, version = "letters", "1"

    def score(self, pairs):
        return [Judgement(float(len(pair.candidate))) for pair in pairs]


def install_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the judge `letters` known."""
    for module in (judging, checks):
        real = module.registry
        made = SimpleNamespace(get=lambda name, real=real: Letters if name == "letters" else real("judges").get(name))
        monkeypatch.setattr(
            module, "registry", lambda kind, real=real, made=made: made if kind == "judges" else real(kind)
        )


def tiny_checkpoint(folder: Path) -> Path:
    """The tiny policy with random weights, written to the folder."""
    tokenizer = train_tokenizer(["The heart is not enlarged.", "A small effusion on the left side."], vocabulary=300)
    save_checkpoint(build_model(tokenizer, seed=3), build_processor(tokenizer), folder)
    return folder
