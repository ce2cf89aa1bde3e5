"""The two sides of bench/train.py: TRL's trainers as they are, and ours, on the same pairs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from chexalign.train.arguments import training_arguments
from chexalign.train.objective import Objective
from chexalign.train.pack import Example
from chexalign.train.prefix import separate_logps
from chexalign.train.rows import Collator, OrderedRows, Row
from chexalign.train.settings import Settings
from chexalign.train.trainer import AlignTrainer
from chexalign.train.vision import Vision, tower_of

LEARNING_RATE = 1e-5


class StepClock(TrainerCallback):
    """Seconds of each update, from after its batch was collated to after the optimizer's step.

    On a CPU it counts the process's CPU seconds, which other load disturbs less than wall time.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def now(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.started = self.now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(self.now() - self.started)


def compact_head() -> None:
    """Makes TRL's language head score only completion tokens, as it does on CUDA; on a CPU it would score all."""
    import trl.kernels.chunked_logprob  # noqa: F401
    import trl.trainer.utils as utils

    utils._use_triton = lambda device: True


def trl_dpo(model: Any, ref: Any, processor: Any, pairs: Sequence[dict[str, Any]], *, batch: int, steps: int) -> Any:
    """TRL's DPOTrainer with its reference model, the way a user gets it."""
    from datasets import Dataset, Features, List, Value
    from datasets import Image as ImageFeature
    from trl import DPOConfig, DPOTrainer

    columns = {key: [pair[key] for pair in pairs] for key in pairs[0]}
    text = {key: Value("string") for key in ("prompt", "chosen", "rejected")}
    rows = Dataset.from_dict(columns, features=Features(images=List(ImageFeature()), **text))
    arguments = DPOConfig(beta=0.1, loss_type=["sigmoid"], **_arguments(batch, steps))
    return DPOTrainer(model=model, ref_model=ref, args=arguments, train_dataset=rows, processing_class=processor)


def trl_kto(model: Any, ref: Any, processor: Any, pairs: Sequence[dict[str, Any]], *, batch: int, steps: int) -> Any:
    """TRL's KTOTrainer on the same pairs as unpaired rows, chosen and rejected next to each other."""
    from datasets import Dataset, Features, List, Value
    from datasets import Image as ImageFeature
    from trl import KTOConfig, KTOTrainer

    columns: dict[str, list[Any]] = {"images": [], "prompt": [], "completion": [], "label": []}
    for pair in pairs:
        for side in ("chosen", "rejected"):
            values = (pair["images"], pair["prompt"], pair[side], side == "chosen")
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    features = Features(
        images=List(ImageFeature()), prompt=Value("string"), completion=Value("string"), label=Value("bool")
    )
    arguments = KTOConfig(beta=0.1, **_arguments(2 * batch, steps))
    rows = Dataset.from_dict(columns, features=features)
    return KTOTrainer(model=model, ref_model=ref, args=arguments, train_dataset=rows, processing_class=processor)


def _arguments(batch: int, steps: int) -> dict[str, Any]:
    return {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": batch,
        "max_steps": steps,
        "max_length": None,
        "gradient_checkpointing": False,
        "bf16": torch.cuda.is_available(),
        "use_cpu": not torch.cuda.is_available(),
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "no",
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "remove_unused_columns": False,
        "max_grad_norm": 1.0,
    }


def examples_of(batch: dict[str, torch.Tensor], *, n_pairs: int, images: int) -> list[Example]:
    """Our examples from a batch that TRL's preference collator made: the very same tokens on both sides."""
    ids, real, completion = batch["input_ids"], batch["attention_mask"].bool(), batch["completion_mask"].bool()
    text = [tuple(row[mask].tolist()) for row, mask in zip(ids, completion & real, strict=True)]
    return [
        Example(
            f"pair{i}",
            tuple(ids[i][real[i] & ~completion[i]].tolist()),
            (text[i], text[n_pairs + i]),
            tuple(f"{i}/{k}" for k in range(images)),
        )
        for i in range(n_pairs)
    ]


class PixelTensors:
    """Pixels that are ready, by key: opening and scaling images is left out on both sides."""

    def __init__(self, pixels: dict[str, torch.Tensor]) -> None:
        self._pixels = pixels

    def inputs(self, images: Sequence[Sequence[str]]) -> dict[str, torch.Tensor]:
        keys = [key for row in images for key in row]
        return {"pixel_values": torch.stack([self._pixels[key] for key in keys])} if keys else {}


def ours(
    model: Any,
    rows: Sequence[Row],
    objective: Objective,
    vision: Vision,
    *,
    batch: int,
    steps: int,
    shared: bool = True,
) -> AlignTrainer:
    """Our trainer as `fit` makes it, its first-batch checks included, without checkpoints."""
    precision = "bf16" if torch.cuda.is_available() else "fp32"
    settings = Settings(LEARNING_RATE, global_batch=batch, precision=precision)
    arguments = training_arguments(settings, Path(tempfile.mkdtemp()), seed=0, evaluates=False)
    order = [i % len(rows) for i in range(batch * steps)]
    trainer = AlignTrainer(
        model,
        arguments,
        rows=OrderedRows(rows, order),
        collator=Collator(vision, pad_id=0),
        objective=objective,
        warmup_ratio=0.0,
        fingerprint="bench",
        starts_at_ref=False,
    )
    if not shared:
        trainer._route = separate_logps
        trainer.self_check = {}
    return trainer


def timed(trainer: Any, vision: Vision | None = None) -> list[float]:
    """Seconds of each update but the first."""
    clock = StepClock()
    trainer.add_callback(clock)
    if vision is None:
        trainer.train()
    else:
        with tower_of(vision, trainer.model):
            trainer.train()
    return clock.seconds[1:]


__all__ = ["compact_head", "examples_of", "ours", "timed", "trl_dpo", "trl_kto"]
