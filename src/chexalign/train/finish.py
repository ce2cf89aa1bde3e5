"""The end of every training: a checkpoint that plain transformers loads, and its manifest last."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from chexalign import artifact
from chexalign.policy.hf import save_checkpoint
from chexalign.stage import StageKey
from chexalign.train.fit import FitLog
from chexalign.train.resume import forget


def finish_policy(
    model: Any,
    processor: Any,
    folder: Path,
    key: StageKey,
    log: FitLog,
    *,
    rows: int,
    dropped: dict[str, int] | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Writes the checkpoint, forgets what training could be resumed from, and writes the manifest.

    In a training over several processes the first one writes, and the others wait for it.
    """
    if int(os.environ.get("RANK", "0")) == 0:
        save_checkpoint(model, processor, folder)
        forget(folder)
        more = {"checks": log.checks, **(extra or {})}
        artifact.finish(folder, key, rows=rows, seconds=log.seconds, log=log.rows, dropped=dropped, extra=more)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        import torch.distributed

        torch.distributed.barrier()
