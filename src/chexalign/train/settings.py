"""From a recipe's blocks to the settings of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from chexalign.errors import UserError

Precision = Literal["fp32", "bf16"]  # of the forward pass; weights are fp32


@dataclass(frozen=True, slots=True)
class Settings:
    """AdamW with linear warm-up and cosine decay to zero, and how the work is laid on the hardware.

    `global_batch` rows make an update, whatever the number of processes; `per_device` of them (None: all that a process
    gets) go through the model at once.
    """

    learning_rate: float
    epochs: float = 1.0
    global_batch: int = 16
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)
    max_steps: int | None = None
    per_device: int | None = None
    precision: Precision = "fp32"
    gradient_checkpointing: bool = False
    threads: int = 1
    data_workers: int = 0
    trackers: tuple[str, ...] = ()
    eval_steps: int | None = None  # from one look at the held-out rows to the next; None: a tenth of all steps
    patience: int | None = None  # looks without a better loss after which training stops


def settings_of(spec: Any, compute: Any, *, threads: int) -> Settings:
    """The settings in a TrainSpec or SFTSpec and in the ComputeSpec, or None, of a recipe."""
    names = ("warmup_ratio", "weight_decay", "max_grad_norm", "max_steps", "eval_steps", "patience")
    known = {name: getattr(spec, name) for name in names if hasattr(spec, name)}
    if compute is not None:
        known |= {
            "per_device": compute.per_device_batch,
            "precision": compute.precision,
            "gradient_checkpointing": compute.gradient_checkpointing,
            "data_workers": compute.data_workers,
            "trackers": tuple(compute.trackers),
        }
    return Settings(
        learning_rate=spec.learning_rate, epochs=spec.epochs, global_batch=spec.global_batch, threads=threads, **known
    )


def no_peft() -> UserError:
    """The error for adapters without the package that trains them."""
    return UserError(
        "policy.lora is set, and the package peft is not installed.",
        "Adapters are trained through peft.",
        "Run `pip install 'chexalign[lora]'`, or leave policy.lora out to train all weights.",
    )


def share(global_batch: int, processes: int, per_device: int | None) -> tuple[int, int]:
    """Rows that a process takes at once, and how often it does so for one update.

    Raises: UserError when they do not multiply to the global batch.
    """
    mine, rest = divmod(global_batch, processes)
    size = mine if per_device is None else min(per_device, mine)
    if rest or size == 0 or mine % size:
        raise UserError(
            f"A global batch of {global_batch} cannot be cut into {processes} processes of {per_device or 'all'} rows.",
            "Every update must see the same number of rows on every machine, or results would depend on the hardware.",
            "Choose a global_batch that is a multiple of processes times compute.per_device_batch.",
        )
    return size, mine // size
