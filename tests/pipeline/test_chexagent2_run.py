"""A recipe on a folder in CheXagent-2's published layout: SFT, candidates, pairs, DPO and evaluation, unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chexalign.atomic import read_json
from chexalign.cli import main
from chexalign.data.base import Item
from chexalign.ids import file_sha256
from chexalign.policy.chexagent2.files import tensor_shapes
from chexalign.types import ImageRef, Study
from chexalign.workflow import stages
from tests import chexagent2 as cx

SENTENCES = [
    "The lungs are clear.",
    "There is a small effusion on the left.",
    "The heart is large.",
    "No edema is seen.",
]
SPLIT = ["sft"] * 6 + ["prefer"] * 6 + ["validation"] * 2 + ["test"] * 3


class Handful:
    """A dataset of a few studies with two images of noise each."""

    license, synthetic = "CC0-1.0", True

    def items(self) -> tuple[list[Item], dict[str, int]]:
        return [Item(f"s{i}", split, i) for i, split in enumerate(SPLIT)], {}

    def study(self, item: Item, images: Path) -> Study:
        found = []
        for k, view in enumerate(("frontal", "lateral")):
            path, rng = images / f"{item.id}-{k}.png", np.random.default_rng([item.payload, k])
            Image.fromarray(rng.integers(0, 256, (40, 30), dtype=np.uint8)).save(path)
            found.append(ImageRef(f"images/{path.name}", file_sha256(path), view, 30, 40, synthetic=True))
        text = SENTENCES[item.payload % len(SENTENCES)]
        return Study(item.id, f"p{item.id}", tuple(found), "Cough.", text, None, (), item.split, "handful", "CC0-1.0")


@pytest.mark.pipeline
def test_a_recipe_runs_on_it_from_sft_to_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "make_dataset", lambda *_, **__: Handful())
    model = cx.write(tmp_path / "model")
    train = "{algorithm: dpo, beta: 0.1, learning_rate: 1.0e-3, epochs: 1, global_batch: 2}"
    settings = [
        f"policy={{model: {model}, freeze: [vision, projector], max_images: 2, template: structured_findings@1}}",
        "sft={epochs: 80, learning_rate: 5.0e-3, global_batch: 2}",
        "data.split={sft: 6, prefer: 6, validation: 2, test: 3}",
        f"arms={{dpo: {{judge: rouge_l, pairs: {{rule: best_worst, min_margin: 1.0e-8}}, train: {train}}}}}",
        "sample={n: 4, temperature: 1.0, max_new_tokens: 24, batch_size: 8, part_size: 3}",
        "evaluate.metrics=[rouge_l]",
        "workers=1",
    ]
    arguments: list[Any] = [part for setting in settings for part in ("--set", setting)]
    assert main.main(["run", "quick", "--runs", str(tmp_path / "runs"), *arguments]) == 0
    policies = tmp_path / "runs" / "quick" / "policy"
    for name in ("sft", "dpo"):
        assert tensor_shapes(policies / name) == cx.shapes(cx.TINY)
        checks = read_json(policies / name / "manifest.json")["extra"]["checks"]
        assert checks["prefix_sharing"]["shared"] is True
    assert (tmp_path / "runs" / "quick" / "report.html").is_file()
