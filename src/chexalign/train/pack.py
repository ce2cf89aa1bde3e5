"""Examples and packed batches: a prompt once, and all completions that share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

PADDING, PROMPT = -1, 0  # segments; completion k is segment k + 1


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of a prompt (image tokens expanded) and of the completions that share it (end token included)."""

    id: str
    prompt_ids: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]
    images: tuple[str, ...]  # one key or path per image of the prompt
    weights: tuple[float, ...] | None = None  # of the tokens of completions[0] in supervised training; None: all 1

    def __post_init__(self) -> None:
        if not self.prompt_ids:
            raise ValueError(f"Example {self.id}: the prompt is empty")
        if not self.completions or not all(self.completions):
            raise ValueError(f"Example {self.id}: a completion is empty")
        if self.weights is not None and len(self.weights) != len(self.completions[0]):
            raise ValueError(f"Example {self.id}: one weight per token of the first completion")

    @property
    def n_tokens(self) -> int:
        """Length of the prompt and all its completions together."""
        return len(self.prompt_ids) + sum(map(len, self.completions))

    @property
    def longest(self) -> int:
        """Length of the prompt with its longest completion: the context that the example needs."""
        return len(self.prompt_ids) + max(map(len, self.completions))


def pack(examples: Sequence[Example], *, pad_id: int) -> dict[str, torch.Tensor]:
    """One row per example, `[pad][prompt][completion 0][pad][completion 1][pad]...`, each part in the same columns.

    Prompts are padded on the left, completions on the right. Keys, all [B, L] int64:
    `input_ids`; `segments` (-1 padding, 0 prompt, k + 1 for completion k); `positions` (from 0 in the prompt; each
    completion goes on where the row's prompt ended; 0 at padding).
    Raises: ValueError when the examples differ in how many completions they have.
    """
    n_completions = {len(e.completions) for e in examples}
    if len(n_completions) != 1:
        raise ValueError(
            f"pack: examples of one batch need the same number of completions, not {sorted(n_completions)}"
        )
    prompt_width = max(len(e.prompt_ids) for e in examples)
    widths = [max(map(len, column)) for column in zip(*(e.completions for e in examples), strict=True)]
    shape = (len(examples), prompt_width + sum(widths))
    ids, segments, positions = (
        torch.full(shape, pad_id),
        torch.full(shape, PADDING),
        torch.zeros(shape, dtype=torch.int64),
    )
    for row, e in enumerate(examples):
        n_prompt = len(e.prompt_ids)
        parts = [(prompt_width - n_prompt, 0, e.prompt_ids)]
        start = prompt_width
        for completion, width in zip(e.completions, widths, strict=True):
            parts.append((start, n_prompt, completion))
            start += width
        for segment, (column, first, tokens) in enumerate(parts):
            span = slice(column, column + len(tokens))
            ids[row, span] = torch.tensor(tokens)
            segments[row, span] = segment
            positions[row, span] = torch.arange(first, first + len(tokens))
    return {"input_ids": ids, "segments": segments, "positions": positions}
