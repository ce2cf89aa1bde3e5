"""The end of every training: a checkpoint that plain transformers loads, its card, and its manifest last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chexalign import artifact
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.stage import StageKey
from chexalign.train.card import About, write_card
from chexalign.train.fit import FitLog
from chexalign.train.launch import first_decides
from chexalign.train.lora import ADAPTER, clear_adapter, is_adapted, merge, merge_into, save_adapter
from chexalign.train.resume import forget


def finish_policy(
    model: Any,
    processor: Any,
    folder: Path,
    key: StageKey,
    log: FitLog,
    *,
    base: Path,
    about: About,
    rows: int,
    dropped: dict[str, int] | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Writes the checkpoint, adapters merged in, forgets what training could be resumed from, and writes the manifest.

    `base` is the checkpoint that training began with. Of several processes the first one writes, and the others wait.
    """

    def write() -> None:
        _write_weights(model, processor, folder, log.weights, base)
        steps = max((int(row["step"]) for row in log.rows), default=0)
        write_card(folder, about, rows=rows, dropped=dropped or {}, checks=log.checks, steps=steps)
        forget(folder)
        more = {"checks": log.checks, **(extra or {})}
        artifact.finish(folder, key, rows=rows, seconds=log.seconds, log=log.rows, dropped=dropped, extra=more)

    first_decides(write)


def _write_weights(model: Any, processor: Any, folder: Path, weights: dict[str, Any] | None, base: Path) -> None:
    """Writes the whole model, and adapters also by themselves."""
    clear_adapter(folder)
    if not is_adapted(model):
        save_checkpoint(model, processor, folder, weights)
        return
    save_adapter(model, folder / ADAPTER, weights)
    in_memory = weights is None and not getattr(model, "is_quantized", False)
    merged = merge(model) if in_memory else merge_into(HFPolicy(base).model, model, weights)
    save_checkpoint(merged, processor, folder)
