"""One way to train: rows and an objective go in, the model's trainable weights change, a log comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from chexalign import atomic
from chexalign.errors import UserError
from chexalign.progress import bar
from chexalign.train.callbacks import Clock, Progress, SaveByClock, Watch
from chexalign.train.freeze import part_of
from chexalign.train.held_out import HeldOut
from chexalign.train.launch import first_decides, is_first
from chexalign.train.objective import Objective
from chexalign.train.order import training_order
from chexalign.train.resume import STEPS, clear_others, last_sealed
from chexalign.train.rows import Collator, OrderedRows, Row
from chexalign.train.settings import Settings
from chexalign.train.vision import Vision, tower_of


@dataclass(frozen=True, slots=True)
class FitLog:
    """What training left to look at: one row of numbers per step, the seconds it took, and what was checked.

    The seconds are those of all steps, also of steps before an interruption. `weights` is set where the model in memory
    holds only a shard of them (FSDP, ZeRO-3): all of them, on the CPU of the first process.
    """

    rows: list[dict[str, float]]
    seconds: float
    checks: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, torch.Tensor] | None = None


def fit(
    model: Any,
    rows: Sequence[Row],
    objective: Objective,
    settings: Settings,
    *,
    vision: Vision,
    pad_id: int,
    folder: Path,
    label: str,
    fingerprint: str,
    seed: int,
    starts_at_ref: bool = False,
    held_out: Sequence[Row] = (),
) -> FitLog:
    """The log of training on `rows`; the trainable parameters of `model` are changed in place.

    Checkpoints go to `folder`/steps while training runs, and training goes on from the last whole one that has the same
    `fingerprint`; the result does not depend on when it was saved or how often it was killed. `starts_at_ref` says that
    the policy is its own reference, so that the first loss is known. With `held_out` rows, which no step sees, the
    weights of the step with the lowest loss on them are what is left in the end.
    Raises: UserError when a loss or gradient is not finite (it names the rows), when the first loss is not what the
    formula says, and when the disk is full.
    """
    from chexalign.train.arguments import training_arguments
    from chexalign.train.trainer import AlignTrainer

    lengths = [row.example.n_tokens for row in rows]
    order = training_order(lengths, epochs=settings.epochs, batch_size=settings.global_batch, seed=seed)
    if settings.max_steps is not None:
        order = order[: settings.max_steps * settings.global_batch]
    steps = folder / STEPS
    trains_tower = any(p.requires_grad for name, p in model.named_parameters() if part_of(name) == "vision")
    arguments = training_arguments(settings, steps, seed=seed, evaluates=bool(held_out), trains_tower=trains_tower)
    n_steps = -(-len(order) // settings.global_batch)
    share = settings.global_batch if arguments.world_size > 1 else 1
    watch = Watch()
    with using_threads(settings.threads), tower_of(vision, model), without_dropout(model), atomic.explained(folder):
        resumed = first_decides(lambda: _where_it_stopped(steps, fingerprint))
        trainer = AlignTrainer(
            model,
            arguments,
            rows=OrderedRows(rows, order, multiple=share),
            collator=Collator(vision, pad_id),
            objective=objective,
            warmup_ratio=settings.warmup_ratio,
            fingerprint=fingerprint,
            starts_at_ref=starts_at_ref and resumed is None,
            held_out=OrderedRows(held_out, range(len(held_out)), multiple=share) if held_out else None,
        )
        sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
        looks = HeldOut(None if sharded else steps / "best", patience=settings.patience)
        done = int(resumed.name.rpartition("-")[2]) if resumed else 0
        with bar(n_steps if is_first() else 0, label, unit="step", done=done) as progress:
            for callback in (Progress(progress), Clock(), watch, looks, SaveByClock()):
                trainer.add_callback(callback)
            trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    log = [row for row in trainer.state.log_history if "loss" in row or "eval_loss" in row]
    checks = {"prefix_sharing": trainer.self_check, "warnings": watch.warnings}
    if held_out:
        checks["held_out"] = {"rows": len(held_out), **looks.take_best(trainer.model, trainer.state)}
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if sharded else None
    return FitLog(log, sum(row.get("seconds", 0.0) for row in log), checks, weights)


def _where_it_stopped(steps: Path, fingerprint: str) -> Path | None:
    """The checkpoint to go on from, after all others are removed."""
    resumed = last_sealed(steps, fingerprint)
    clear_others(steps, keep=resumed)
    return resumed


@contextmanager
def using_threads(threads: int) -> Iterator[None]:
    """Sets the number of threads that torch computes with, and sets it back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def without_dropout(model: Any) -> Iterator[None]:
    """Turns dropout off: the reference log-probs were taken without it, so the first ratio must be 1.

    Beside modules for it, attentions and whole layers hold a rate of their own, such as `attention_dropout`. Adapters
    keep the dropout that was asked for: before the first step they add nothing, with it or without.
    """
    rates = [
        (module, name, rate)
        for place, module in model.named_modules()
        if "lora_dropout" not in place  # a choice of the recipe's, and an adapter adds nothing before its first step
        for name, rate in vars(module).items()
        if isinstance(rate, float) and ("drop" in name or isinstance(module, torch.nn.modules.dropout._DropoutNd))
    ]
    for module, name, _ in rates:
        setattr(module, name, 0.0)
    try:
        yield
    finally:
        for module, name, rate in rates:
            setattr(module, name, rate)


def no_rows(what: str) -> UserError:
    """The error for a training without data."""
    return UserError(
        f"{what} has no rows to train on.",
        "Every prompt was dropped; the manifests of its inputs count the reasons.",
        "Draw more candidates (sample.n), lower pairs.min_margin, or use another judge.",
    )
