"""From our settings to those of transformers.Trainer."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from chexalign.train.settings import Settings, share

_LOOKS_EVERY = 0.1  # of all steps


def training_arguments(
    settings: Settings, steps: Path, *, seed: int, evaluates: bool, trains_tower: bool = False
) -> TrainingArguments:
    """Arguments under which the Trainer neither prints, phones home, shuffles, nor saves unless it is told to.

    Raises: UserError when the global batch cannot be cut into the processes' shares.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    per_device, accumulation = share(settings.global_batch, processes, settings.per_device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of names that the oldest supported version needs
        return TrainingArguments(
            output_dir=str(steps),
            per_device_train_batch_size=per_device,
            per_device_eval_batch_size=per_device,
            gradient_accumulation_steps=accumulation,
            num_train_epochs=1,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            adam_beta1=settings.betas[0],
            adam_beta2=settings.betas[1],
            max_grad_norm=settings.max_grad_norm,
            bf16=settings.precision == "bf16",
            **_checkpointing(settings),
            use_cpu=not torch.cuda.is_available(),
            seed=seed % 2**31,
            logging_steps=1,
            logging_strategy="steps",
            logging_nan_inf_filter=False,
            save_strategy="no",
            save_total_limit=2,
            eval_strategy="steps" if evaluates else "no",
            eval_steps=(settings.eval_steps or _LOOKS_EVERY) if evaluates else None,
            report_to=list(settings.trackers) or "none",
            remove_unused_columns=False,
            disable_tqdm=True,
            dataloader_num_workers=settings.data_workers,
            dataloader_pin_memory=torch.cuda.is_available(),
            ddp_find_unused_parameters=trains_tower,  # Llava's last tower layer is never read
            average_tokens_across_devices=False,
        )


def _checkpointing(settings: Settings) -> dict[str, Any]:
    """Nothing where it is off."""
    if not settings.gradient_checkpointing:
        return {}
    return {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
