"""Examples and batches: a prompt, a completion, and the features of the prompt's images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

# Batches are cut from pools of this many batches sorted by length: little padding, still random.
_POOL_BATCHES = 16


class Sized(Protocol):
    """Anything that batches are made of."""

    @property
    def n_tokens(self) -> int:
        """Its length, by which batches are sorted."""
        ...


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of a prompt (image tokens expanded) and of a completion (end token included)."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    images: tuple[str, ...]  # keys into the feature table, one per image of the prompt
    weights: tuple[float, ...] | None = None  # of the completion tokens in supervised training; None: all 1

    def __post_init__(self) -> None:
        if self.weights is not None and len(self.weights) != len(self.completion_ids):
            raise ValueError("Example: one weight per completion token")

    @property
    def n_tokens(self) -> int:
        """Length of prompt and completion together."""
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded sequences; a mask marks the completion tokens."""

    input_ids: torch.Tensor  # [B, T] int64
    attention_mask: torch.Tensor  # [B, T] int64
    completion_mask: torch.Tensor  # [B, T] bool, True where input_ids is a completion token
    images: tuple[str, ...]  # keys of all images, in the order of their tokens


def collate(examples: Sequence[Example], *, pad_id: int) -> Batch:
    """One batch of the examples, in order."""
    width = max(e.n_tokens for e in examples)
    ids = torch.full((len(examples), width), pad_id)
    attention = torch.zeros_like(ids)
    completion = torch.zeros_like(ids, dtype=torch.bool)
    for i, e in enumerate(examples):
        ids[i, : e.n_tokens] = torch.tensor(e.prompt_ids + e.completion_ids)
        attention[i, : e.n_tokens] = 1
        completion[i, len(e.prompt_ids) : e.n_tokens] = True
    return Batch(ids, attention, completion, tuple(key for e in examples for key in e.images))


def epoch_batches(lengths: Sequence[int], *, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Indices of one epoch in random batches of similar length, the last one possibly smaller."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    pool = batch_size * _POOL_BATCHES
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        block = sorted(order[start : start + pool].tolist(), key=lambda i: lengths[i])
        batches += [block[i : i + batch_size] for i in range(0, len(block), batch_size)]
    for i in rng.permutation(len(batches)):
        yield batches[i]
