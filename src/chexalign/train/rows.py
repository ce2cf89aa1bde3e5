"""Rows of training data, and the batches that a step takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from chexalign.train.pack import Example, pack
from chexalign.train.vision import Vision

VISION = "vision."  # prefix of the image inputs in a batch
FILLER = -1  # index of a row that only makes a batch full


@dataclass(frozen=True, slots=True)
class Row:
    """An example and what its loss needs beside the policy's log-probs.

    Supervised: one completion. Pairs: chosen, rejected. Verdicts: one completion. For KTO one more completion follows,
    which answers another prompt.
    """

    example: Example
    ref: tuple[float, ...] = ()  # sum_logp of each completion under the reference policy, nats; none where not needed
    desirable: bool = True  # of a verdict
    weight: float = 1.0  # of a verdict

    def __post_init__(self) -> None:
        if self.ref and len(self.ref) != len(self.example.completions):
            raise ValueError(f"Row {self.example.id}: one reference log-prob per completion")


class OrderedRows(Dataset[tuple[int, Row]]):
    """The rows in the order in which training takes them, each with its index; the same row can come several times.

    After them come as many fillers as make the length a multiple of `multiple`, so that several processes get equal
    shares of the last batch: copies of a row under the index FILLER, which no loss counts.
    """

    def __init__(self, rows: Sequence[Row], order: Sequence[int], *, multiple: int = 1) -> None:
        self.rows, self.order = rows, order
        self._length = -(-len(order) // multiple) * multiple

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, i: int) -> tuple[int, Row]:
        index = self.order[i] if i < len(self.order) else FILLER
        return index, self.rows[index if index != FILLER else self.order[0]]


@dataclass(frozen=True, slots=True)
class Collator:
    """Makes the tensors of a batch: those of `pack`, the images' under `vision.`, and the loss's own.

    `row` [B] holds the rows' indices, so that a bad loss can name them; `counts` [B] is 0 for fillers and else 1;
    `weights` [M] the weights of the supervised tokens; `ref` [B, K]; `desirable` [B] bool and `weight` [B] of verdicts.
    """

    vision: Vision
    pad_id: int

    def __call__(self, items: Sequence[tuple[int, Row]]) -> dict[str, torch.Tensor]:
        """The batch of these rows, in order."""
        rows = [row for _, row in items]
        examples = [row.example for row in rows]
        batch = pack(examples, pad_id=self.pad_id)
        batch |= {VISION + name: tensor for name, tensor in self.vision.inputs([e.images for e in examples]).items()}
        batch["row"] = torch.tensor([index for index, _ in items])
        counts = [0.0 if index == FILLER else 1.0 for index, _ in items]
        weights = [e.weights or (1.0,) * len(e.completions[0]) for e in examples]
        batch["counts"] = torch.tensor(counts)
        batch["weights"] = torch.tensor([w * n for of_row, n in zip(weights, counts, strict=True) for w in of_row])
        batch["desirable"] = torch.tensor([row.desirable for row in rows])
        batch["weight"] = torch.tensor([row.weight for row in rows])
        if all(row.ref for row in rows):
            batch["ref"] = torch.tensor([row.ref for row in rows])
        return batch


def vision_inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The image inputs of a batch, by the names of the model's forward."""
    return {name.removeprefix(VISION): tensor for name, tensor in batch.items() if name.startswith(VISION)}
