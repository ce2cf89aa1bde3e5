"""Supervised fine-tuning on completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from chexalign.ids import keyed_seed
from chexalign.train.batch import Example, collate, epoch_batches
from chexalign.train.features import FeatureTable
from chexalign.train.logps import token_logps
from chexalign.train.loop import StepLoss


def sft_step(model: Any, examples: Sequence[Example], features: FeatureTable, *, pad_id: int) -> StepLoss:
    """A step whose loss is the mean negative log-prob of the batch's completion tokens, in nats per token."""

    def step(indices: Sequence[int], _: int) -> tuple[torch.Tensor, dict[str, float]]:
        logps, _rows = token_logps(model, collate([examples[i] for i in indices], pad_id=pad_id), features)
        return -logps.mean(), {"tokens": float(len(logps))}

    return step


def plan(examples: Sequence[Example], *, epochs: int, batch_size: int, seed: int) -> list[list[int]]:
    """The batches of all epochs, each epoch in its own order."""
    lengths = [e.n_tokens for e in examples]
    return [
        batch
        for epoch in range(epochs)
        for batch in epoch_batches(lengths, batch_size=batch_size, seed=keyed_seed(seed, "epoch", epoch))
    ]


@torch.no_grad()
def mean_nll(
    model: Any, examples: Sequence[Example], features: FeatureTable, *, pad_id: int, batch_size: int = 50
) -> float:
    """Mean negative log-prob per completion token over all examples, in nats."""
    parts = []
    for start in range(0, len(examples), batch_size):
        batch = collate(examples[start : start + batch_size], pad_id=pad_id)
        parts.append(token_logps(model, batch, features)[0])
    return -float(torch.cat(parts).double().mean())
