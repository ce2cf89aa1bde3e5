"""Train a step of TRL on each export and one with a judge as reward, and keep what was found for a test to read.

    pip install "trl==1.16.0" && python bench/golden_export.py

The run folder is made up, with hand-written sentences and the tiny policy at random weights. Each TRL format is read
by `load_dataset` from the export's own folder, its images are opened, and DPOTrainer or KTOTrainer takes one step.
GRPOTrainer takes one with `chexalign.judges.as_reward` of a judge that counts characters and scores half of the texts.
"""

from __future__ import annotations

import importlib.metadata
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chexalign import atomic
from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.ids import digest, file_sha256
from chexalign.judges import as_reward
from chexalign.judges.base import Judgement, TextPair
from chexalign.pairs.export import export
from chexalign.pairs.export_formats import parquet_schema
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from chexalign.types import Candidate, ImageRef, Pair, Prompt, Study

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "export" / "trl.json"
TEXTS = ("The heart is normal in size.", "A small effusion on the left side.", "Both lungs are clear.")
PACKAGES = ("trl", "datasets", "transformers", "torch")
N = 4


def made_up(root: Path) -> RunFolder:
    """A run of four studies with two images each, and a pair for every one."""
    run, rng = RunFolder(root), np.random.default_rng(0)
    run.images.mkdir(parents=True)
    studies, prompts, candidates, pairs = [], [], [], []
    for i in range(N):
        images = []
        for view in ("frontal", "lateral"):
            path = run.images / f"{i}-{view}.png"
            Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
            images.append(ImageRef(str(path.relative_to(root)), file_sha256(path), view, 64, 64))  # type: ignore[arg-type]
        studies.append(Study(f"s{i}", f"s{i}", tuple(images), None, TEXTS[0], None, (), "prefer", "made up", "CC0"))
        prompts.append(Prompt(f"p{i}", f"s{i}", "findings", "Write the findings.", "findings@1"))
        for d in range(2):
            text = TEXTS[(i + d) % len(TEXTS)]
            candidates.append(Candidate(f"c{i}{d}", f"p{i}", text, 9, None, "stop", d, "made up"))
        pairs.append(Pair(f"pair{i}", f"p{i}", f"c{i}0", f"c{i}1", 0.5, 0, "made up@1", "best_worst"))
    tables = ((run.studies, studies), (run.prompts, prompts), (run.candidates, candidates), (run.pairs("a"), pairs))
    for table, rows in tables:
        table.write_part(0, rows, fingerprint="f")  # type: ignore[attr-defined]
        Manifest("pairs", "f", {}, {}, 0, len(rows), {}, "c", 0.0).save(table.folder)  # type: ignore[attr-defined]
    return run


def step(folder: Path, format: str, work: Path) -> dict[str, Any]:
    """What `datasets` reads from an export, and the loss of a step that TRL trains on it."""
    from datasets import load_dataset
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

    rows = load_dataset(str(folder), split="train", cache_dir=str(work / "cache"))
    opened = rows[0]["images"]
    tokenizer = train_tokenizer([*TEXTS, "Write the findings."], vocabulary=300)
    config, trainer = (DPOConfig, DPOTrainer) if format == "trl" else (KTOConfig, KTOTrainer)
    arguments = config(
        output_dir=str(work / "out"),
        per_device_train_batch_size=2,
        max_steps=1,
        max_length=None,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        disable_tqdm=True,
    )
    made = trainer(
        model=build_model(tokenizer, seed=0),
        ref_model=build_model(tokenizer, seed=0),
        args=arguments,
        train_dataset=rows,
        processing_class=build_processor(tokenizer),
    )
    loss = made.train().training_loss
    assert math.isfinite(loss)
    return {
        "rows": len(rows),
        "columns": rows.column_names,
        "images": [list(image.size) for image in opened],
        "loss": round(loss, 6),
        "schema": digest(str(parquet_schema(format))),  # type: ignore[arg-type]
    }


class Characters:
    """Scores every second text it is asked about by its characters, and the others not at all."""

    name, version = "characters", "1"

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        none = Judgement(None, status="error", reason="not scored")
        return [Judgement(float(len(p.candidate))) if i % 2 == 0 else none for i, p in enumerate(pairs)]


def grpo(run: RunFolder, work: Path) -> dict[str, Any]:
    """What TRL logs of a step that is rewarded by a judge."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    tokenizer = train_tokenizer([*TEXTS, "Write the findings."], vocabulary=300)
    rows = [
        {
            "prompt": [{"role": "user", "content": prompt.text}],
            "images": [Image.open(run.image_path(study.images[0]))],
            "reference": study.reference,
        }
        for prompt, study in zip(run.prompts.rows(), run.studies.rows(), strict=True)
    ]
    arguments = GRPOConfig(
        output_dir=str(work / "out"),
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=8,
        max_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        disable_tqdm=True,
        seed=0,
    )
    made = GRPOTrainer(
        model=build_model(tokenizer, seed=0),
        reward_funcs=as_reward(Characters()),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=build_processor(tokenizer),
    )
    made.train()
    logged = made.state.log_history[0]
    return {name: round(logged[f"rewards/characters/{name}"], 4) for name in ("mean", "std")}


def main() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        run = made_up(work / "run")
        for format in ("trl", "trl-unpaired"):
            export(run, run.pairs("a"), work / format, format=format, max_images=2)  # type: ignore[arg-type]
            found[format] = step(work / format, format, work)
        rewards = grpo(run, work)
    peer = {package: importlib.metadata.version(package) for package in PACKAGES}
    atomic.write_json(GOLDEN, {"peer": peer, "script": "bench/golden_export.py", "formats": found, "grpo": rewards})


if __name__ == "__main__":
    main()
