"""In which order training goes through its rows: random batches of similar length."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from chexalign.ids import keyed_seed

# Batches are cut from pools of this many batches sorted by length: little padding, still random.
_POOL_BATCHES = 16


def epoch_order(lengths: Sequence[int], *, batch_size: int, seed: int) -> list[int]:
    """Every index once; read in steps of `batch_size` it gives random batches of similar length.

    The batch that is not full, if there is one, comes last.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    pool = batch_size * _POOL_BATCHES
    full: list[list[int]] = []
    rest: list[int] = []
    for start in range(0, len(order), pool):
        block = sorted(order[start : start + pool].tolist(), key=lambda i: lengths[i])
        for i in range(0, len(block), batch_size):
            batch = block[i : i + batch_size]
            if len(batch) == batch_size:
                full.append(batch)
            else:
                rest = batch
    return [i for b in rng.permutation(len(full)) for i in full[b]] + rest


def training_order(lengths: Sequence[int], *, epochs: float, batch_size: int, seed: int) -> list[int]:
    """The indices of all epochs, the last of them possibly cut short, each epoch in its own order."""
    whole = [
        i
        for epoch in range(math.ceil(epochs))
        for i in epoch_order(lengths, batch_size=batch_size, seed=keyed_seed(seed, "epoch", epoch))
    ]
    return whole[: max(1, round(epochs * len(lengths)))]


def warmup_cosine(step: int, steps: int, warmup_ratio: float) -> float:
    """The factor of the learning rate at a step: linear warm-up from above 0 to 1, then cosine to 0."""
    warmup = max(1, round(warmup_ratio * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
