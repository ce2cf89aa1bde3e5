"""Log-probs of several completions of one prompt: the prompt and its images are run once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from chexalign.policy.families import Batch, Family, family_of, unwrap


@dataclass(frozen=True, slots=True)
class TokenLogps:
    """Log-probs of all completion tokens in nats, row by row, branch by branch, token by token."""

    logps: torch.Tensor  # [M] float32, with gradient
    rows: torch.Tensor  # [M] int64
    branches: torch.Tensor  # [M] int64, 0..K-1
    shape: tuple[int, int]  # (B, K)

    def sums(self) -> torch.Tensor:
        """Sum over each completion's tokens, end token included: [B, K] float32."""
        return self._add(self.logps)

    def counts(self) -> torch.Tensor:
        """Tokens of each completion, end token included: [B, K] int64."""
        return self._add(torch.ones_like(self.rows))

    def _add(self, values: torch.Tensor) -> torch.Tensor:
        rows, branches = self.shape
        return (
            values.new_zeros(rows * branches)
            .index_add(0, self.rows * branches + self.branches, values)
            .view(self.shape)
        )


def sharing_refused(model: Any) -> str | None:
    """Why `shared_logps` cannot be used with the model, or None; None is no proof that it is right (`disagreement`)."""
    return family_of(model).reason


def shared_logps(model: Any, batch: Batch, vision: dict[str, Any]) -> TokenLogps:
    """Log-probs of all completions by one forward of `model` over the packed rows.

    The language head runs from the last prompt column on. Gradients flow into whatever is trainable.
    """
    family = family_of(model)
    ids, segments = batch["input_ids"], batch["segments"]
    first = _prompt_width(segments) - 1  # the column from which both the prompt and the head's input end
    logits = _logits(
        model, family, ids, width=ids.shape[1] - first, **family.inputs(unwrap(model), batch, vision), **vision
    )
    rows, columns = (segments > 0).nonzero(as_tuple=True)
    of_token = segments[rows, columns]
    # What predicts a token is the one before it; before the first of every completion stands the prompt's last.
    before = torch.where(segments[rows, columns - 1] == of_token, columns - 1, first)
    logps = _logps(logits, rows, before - first, ids[rows, columns])
    return TokenLogps(logps, rows, of_token - 1, (len(ids), int(segments.max())))


def separate_logps(model: Any, batch: Batch, vision: dict[str, Any]) -> TokenLogps:
    """The same log-probs by one ordinary forward per completion, with the model's own masks and positions.

    Cost: the prompt and its images once per completion; this is what `shared_logps` is checked against.
    """
    family = family_of(model)
    n_branches = int(batch["segments"].max())
    parts = [_one_branch(model, family, batch, vision, branch) for branch in range(n_branches)]
    logps, rows, branches = (torch.cat(column) for column in zip(*parts, strict=True))
    order = (rows * n_branches + branches).argsort(stable=True)
    return TokenLogps(logps[order], rows[order], branches[order], (len(batch["input_ids"]), n_branches))


def disagreement(a: TokenLogps, b: TokenLogps) -> float:
    """Largest difference between the completions' sums, relative to the sum where that is larger than 1 nat."""
    x, y = a.sums().detach().double(), b.sums().detach().double()
    return float(((x - y).abs() / y.abs().clamp_min(1.0)).max())


def _one_branch(
    model: Any, family: Family, batch: Batch, vision: dict[str, Any], branch: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probs, rows and branches of one completion of each row."""
    segments = batch["segments"]
    kept = (segments == 0) | (segments == branch + 1)
    order = (~kept).int().argsort(dim=1, stable=True)[:, : int(kept.sum(1).max())]  # what is kept moves to the left
    attention = kept.gather(1, order)
    completion = attention & (segments.gather(1, order) > 0)
    filler = batch["input_ids"][:, _prompt_width(segments) - 1, None]  # a token that stands for no image
    ids = torch.where(attention, batch["input_ids"].gather(1, order), filler)
    rows, columns = completion.nonzero(as_tuple=True)
    first = int(columns.min()) - 1
    types = family.token_types(ids, completion)
    logits = _logits(model, family, ids, width=ids.shape[1] - first, attention_mask=attention.long(), **types, **vision)
    logps = _logps(logits, rows, columns - 1 - first, ids[rows, columns])
    return logps, rows, torch.full_like(rows, branch)


def _prompt_width(segments: torch.Tensor) -> int:
    return int((segments > 0).any(0).int().argmax())


def _logits(model: Any, family: Family, ids: torch.Tensor, *, width: int, **inputs: Any) -> torch.Tensor:
    """[B, width, V]: the logits of the last columns, without a key-value cache."""
    if "logits_to_keep" in family.accepts:
        inputs["logits_to_keep"] = width
    logits: torch.Tensor = model(input_ids=ids, use_cache=False, **inputs).logits
    return logits[:, -width:]


def _logps(logits: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-prob of each target at its row and column of the logits; only those columns are turned to float32."""
    picked = logits.flatten(0, 1).index_select(0, rows * logits.shape[1] + columns)
    return -torch.nn.functional.cross_entropy(picked.float(), targets, reduction="none")
