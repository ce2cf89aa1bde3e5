"""Pretraining of the tiny policy's vision tower on MeSH codes, with extra phantoms of the same codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image

from chexalign import artifact, atomic
from chexalign.demo.codes import label_matrix, label_space
from chexalign.demo.loop import Optimization, StepLoss, cut_batches, fit, forget
from chexalign.demo.openi_phantom import phantom_png, phantom_seed
from chexalign.demo.tiny import IMAGE_SIZE_PX, IMAGE_TOKENS, build_tower
from chexalign.ids import keyed_seed
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.stage import StageKey
from chexalign.store import Table
from chexalign.types import Study

WEIGHTS = "tower.safetensors"
_BATCH = 16
_MAX_SHIFT_PX = 4
_LEAST_STUDIES_PER_LABEL = 12
# Rare labels give rare gradients: with a shorter memory or with clipping the tower learned them less well.
_OPTIMIZATION = Optimization(learning_rate=3e-3, weight_decay=0.05, betas=(0.9, 0.999), max_grad_norm=math.inf)


@dataclass(frozen=True, slots=True)
class Phantom:
    """A synthetic radiograph of a made-up patient with the codes of a study."""

    study_id: str
    variant: int
    png: bytes

    @property
    def key(self) -> str:
        """Its name in a feature table."""
        return f"{self.study_id}#{self.variant}"


def phantom_table(run: RunFolder) -> Table[Phantom]:
    """The phantoms that only the tower is trained on."""
    return Table(run.pretrained("phantoms"), Phantom)


def coded_studies(run: RunFolder) -> list[Study]:
    """The studies whose images and codes the tower learns from: all that are not held out, their reports unseen."""
    return [s for s in run.studies.iter_rows() if s.split in ("sft", "prefer")]


@dataclass(slots=True)
class PhantomsWorker:
    """Draws further phantoms, `part_size` studies per part, all variants of a study together."""

    run: RunFolder
    variants: int
    part_size: int
    _studies: Sequence[Study] = ()

    def setup(self) -> None:
        """Reads the studies."""
        self._studies = coded_studies(self.run)

    def part(self, index: int) -> PartResult[Phantom]:
        """The phantoms of one slice of studies."""
        rows = []
        for study in self._studies[index * self.part_size : (index + 1) * self.part_size]:
            for variant in range(1, self.variants + 1):
                seed = phantom_seed(study.id, variant)
                png = phantom_png(study.codes, view="frontal", seed=seed, size_px=IMAGE_SIZE_PX)
                rows.append(Phantom(study.id, variant, png))
        return PartResult(rows)


@dataclass(frozen=True, slots=True)
class TowerJob:
    """Trains the tower to name the codes of an image and keeps its weights."""

    run_folder: RunFolder
    epochs: int
    threads: int
    key: StageKey

    def run(self) -> None:
        """Does nothing when the weights are there already."""
        from safetensors.torch import save_file

        folder = self.run_folder.pretrained("tower")
        if artifact.finished(folder, self.key):
            return
        atomic.make_folder(folder)
        pixels, labels = self._data()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.key.seed)
            module = Classifier(labels.shape[1])
        batches = cut_batches([1] * len(pixels), epochs=self.epochs, batch_size=_BATCH, seed=self.key.seed)
        step = tower_step(module, pixels, labels, seed=self.key.seed)
        module.train()
        log = fit(
            module,
            batches,
            step,
            _OPTIMIZATION,
            folder=folder,
            label="train vision tower",
            fingerprint=self.key.fingerprint,
            threads=self.threads,
        )
        tensors = {name: value.contiguous() for name, value in module.tower.state_dict().items()}
        atomic.write_file(folder / WEIGHTS, lambda temporary: save_file(tensors, temporary))
        forget(folder)
        artifact.finish(folder, self.key, rows=len(pixels), seconds=log.seconds, log=log.rows)

    def _data(self) -> tuple[np.ndarray, np.ndarray]:
        """All images [N, H, W] uint8 and the labels [N, L] float32 of their studies."""
        studies = coded_studies(self.run_folder)
        own = [decode_png((self.run_folder.image_path(s.images[0])).read_bytes()) for s in studies]
        extra = phantom_table(self.run_folder).rows()
        space = label_space([s.codes for s in studies], at_least=min(_LEAST_STUDIES_PER_LABEL, len(studies) // 10))
        labels = label_matrix([s.codes for s in studies], space)
        row_of = {s.id: i for i, s in enumerate(studies)}
        rows = list(range(len(studies))) + [row_of[p.study_id] for p in extra]
        return np.stack(own + [decode_png(p.png) for p in extra]), labels[rows]


class Classifier(torch.nn.Module):
    """The tower with a linear head on all its tokens side by side, so that a label may depend on the place."""

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.tower: Any = build_tower()
        self.head = torch.nn.Linear(IMAGE_TOKENS * self.tower.config.hidden_size, n_labels)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Logits [B, labels] of pixel values [B, 3, H, W]."""
        logits: torch.Tensor = self.head(self.tower(pixel_values).last_hidden_state.flatten(1))
        return logits


def tower_step(module: Classifier, pixels: np.ndarray, labels: np.ndarray, *, seed: int) -> StepLoss:
    """Binary cross-entropy over all labels, on images shifted by up to 4 px; the shift follows from seed and step."""

    def step(indices: Sequence[int], index: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng(keyed_seed(seed, "shift", index))
        dy, dx = rng.integers(-_MAX_SHIFT_PX, _MAX_SHIFT_PX + 1, 2)
        batch = np.roll(pixels[list(indices)], (int(dy), int(dx)), axis=(1, 2))
        values = torch.from_numpy(batch).float().div(127.5).sub(1.0)[:, None].expand(-1, 3, -1, -1)
        targets = torch.from_numpy(labels[list(indices)])
        return torch.nn.functional.binary_cross_entropy_with_logits(module(values), targets), {}

    return step


def decode_png(png: bytes) -> np.ndarray:
    """Gray values [H, W] uint8 at the tower's size."""
    with Image.open(BytesIO(png)) as image:
        gray = image.convert("L")
        if gray.size != (IMAGE_SIZE_PX, IMAGE_SIZE_PX):
            gray = gray.resize((IMAGE_SIZE_PX, IMAGE_SIZE_PX), Image.Resampling.BICUBIC)
        return np.asarray(gray)
