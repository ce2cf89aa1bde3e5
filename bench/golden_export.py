"""Load exports with `datasets`, train a step on each with TRL, and keep what was found for a test to read.

    pip install "trl==1.16.0" && python bench/golden_export.py

The run folder is made up, with hand-written sentences and the tiny policy at random weights. Each TRL format is read
by `load_dataset` from the export's own folder, its images are opened, and DPOTrainer or KTOTrainer takes one step.
"""

from __future__ import annotations

import importlib.metadata
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chexalign import atomic
from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.ids import digest, file_sha256
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


def main() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        run = made_up(work / "run")
        for format in ("trl", "trl-unpaired"):
            export(run, run.pairs("a"), work / format, format=format, max_images=2)  # type: ignore[arg-type]
            found[format] = step(work / format, format, work)
    peer = {package: importlib.metadata.version(package) for package in PACKAGES}
    atomic.write_json(GOLDEN, {"peer": peer, "script": "bench/golden_export.py", "formats": found})


if __name__ == "__main__":
    main()
