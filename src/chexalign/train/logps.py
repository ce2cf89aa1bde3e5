"""Log-probs of completions under a vision-language model."""

from __future__ import annotations

from typing import Any

import torch

from chexalign.train.batch import Batch
from chexalign.train.features import FeatureTable


def token_logps(model: Any, batch: Batch, features: FeatureTable) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-prob of each completion token (nats, [M] float32) and the row of the batch that it belongs to ([M] int64).

    The language head runs on completion positions alone. Gradients flow into whatever is trainable.
    """
    hidden = model.model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        use_cache=False,
        **features.inputs(model, batch.images),
    ).last_hidden_state
    rows, columns = batch.completion_mask.nonzero(as_tuple=True)
    logits = model.lm_head(hidden[rows, columns - 1]).float()  # the position before a token predicts it
    targets = batch.input_ids[rows, columns]
    return -torch.nn.functional.cross_entropy(logits, targets, reduction="none"), rows


def sum_logps(model: Any, batch: Batch, features: FeatureTable) -> torch.Tensor:
    """Sum of completion log-probs per row, end token included: [B] float32, nats."""
    logps, rows = token_logps(model, batch, features)
    return torch.zeros(len(batch.input_ids), dtype=logps.dtype).index_add(0, rows, logps)
