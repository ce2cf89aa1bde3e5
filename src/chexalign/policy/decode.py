"""Token by token decoding over a shared prefill, with random numbers keyed to each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from chexalign.policy.base import Decoding
from chexalign.policy.cache import reserved_cache
from chexalign.policy.families import family_of, unwrap

_TEXT = {"input_ids", "attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids"}
# Dropping finished rows costs a copy of the cache, so it waits until a quarter of the rows are done.
_COMPACT_BELOW = 0.75


@dataclass(slots=True)
class Row:
    """The state of one completion while it grows."""

    tokens: list[int]
    sum_logp: float
    stopped: bool


@torch.inference_mode()
def decode(
    model: Any,
    inputs: dict[str, torch.Tensor],
    *,
    seeds: Sequence[Sequence[int]],
    decoding: Decoding,
    stop_id: int | Sequence[int],
) -> list[list[Row]]:
    """For each prompt row of `inputs` (left-padded) one Row per seed; the prompt and its images are run once.

    A row ends with its first token that is a `stop_id`, which is kept.

    Cost: one prefill per prompt, then one forward per token over the rows that are not finished.
    All prompts must have the same number of seeds. Masks and positions are those of the model's family.
    """
    stop_ids = {stop_id} if isinstance(stop_id, int) else set(stop_id)
    draws = len(seeds[0])
    flat = [seed for row in seeds for seed in row]
    rows = [Row([], 0.0, stopped=False) for _ in flat]
    uniforms = _uniforms(flat, decoding)
    mask = inputs["attention_mask"]
    cache = reserved_cache(model.config)
    prefill = _prefill(model, inputs)
    out = model(**prefill, past_key_values=cache, use_cache=True, logits_to_keep=1)
    last = _last_positions(prefill["position_ids"], mask).repeat_interleave(draws, -1)
    logits = out.logits[:, -1].float().repeat_interleave(draws, 0)
    cache.batch_repeat_interleave(draws)
    mask = mask.repeat_interleave(draws, 0)
    alive = torch.arange(len(rows), device=mask.device)
    for step in range(decoding.max_new_tokens):
        tokens, logps = _choose(logits, uniforms[step][alive.cpu()] if uniforms is not None else None, decoding)
        keep = _record(rows, alive.tolist(), tokens.tolist(), logps.tolist(), stop_ids)
        if not any(keep) or step + 1 == decoding.max_new_tokens:
            break
        if sum(keep) < _COMPACT_BELOW * len(keep):
            index = torch.tensor([i for i, k in enumerate(keep) if k], device=mask.device)
            cache.batch_select_indices(index)
            alive, mask, tokens, last = alive[index], mask[index], tokens[index], last[..., index]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        out = model(
            input_ids=tokens[:, None],
            attention_mask=mask,
            position_ids=(last + 1 + step)[..., None],
            past_key_values=cache,
            use_cache=True,
        )
        logits = out.logits[:, -1].float()
    return [rows[i : i + draws] for i in range(0, len(rows), draws)]


def _prefill(model: Any, inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Arguments of the forward over the prompts: a row without completions is packed like one with them."""
    family, ids, mask = family_of(model), inputs["input_ids"], inputs["attention_mask"]
    vision = {k: v for k, v in inputs.items() if k in family.accepts and k not in _TEXT}
    # Positions are counted from the first real token, as at every later step.
    batch = {"input_ids": ids, "segments": mask - 1, "positions": (mask.cumsum(1) - 1).clamp_min(0)}
    if family.supports_sharing:
        return {"input_ids": ids, **family.inputs(unwrap(model), batch, vision), **vision}
    types = family.token_types(ids, torch.zeros_like(ids, dtype=torch.bool))
    return {"input_ids": ids, "attention_mask": mask, "position_ids": batch["positions"], **types, **vision}


def _last_positions(position_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[B], or [3, B] where positions have axes: the largest of each prompt, from which all axes go on together."""
    last = position_ids.masked_fill(mask == 0, 0).amax(-1)
    return last if last.ndim == 1 else last.amax(0).expand(len(last), -1)


def _uniforms(seeds: Sequence[int], decoding: Decoding) -> torch.Tensor | None:
    """[steps, rows] float64 in [0, 1), each column from its own seed; None when greedy."""
    if decoding.temperature == 0.0:
        return None
    columns = [np.random.Generator(np.random.Philox(seed)).random(decoding.max_new_tokens) for seed in seeds]
    return torch.from_numpy(np.stack(columns, axis=1))


def _choose(
    logits: torch.Tensor, uniform: torch.Tensor | None, decoding: Decoding
) -> tuple[torch.Tensor, torch.Tensor]:
    """Next tokens and their log-probs at temperature 1; logits [rows, vocabulary]."""
    logps = logits.log_softmax(-1)
    if uniform is None:
        tokens = logits.argmax(-1)
    else:
        tokens = _inverse_cdf(logits / decoding.temperature, uniform.to(logits.device), decoding.top_p)
    return tokens, logps.gather(-1, tokens[:, None])[:, 0]


def _inverse_cdf(logits: torch.Tensor, uniform: torch.Tensor, top_p: float) -> torch.Tensor:
    """The token at which the cumulative probability passes the row's uniform number."""
    probs, order = logits.softmax(-1).double(), None
    if top_p < 1.0:
        probs, order = probs.sort(dim=-1, descending=True, stable=True)
        probs = probs.where(probs.cumsum(-1) - probs < top_p, 0.0)
    cdf = probs.cumsum(-1)
    index = torch.searchsorted(cdf, uniform[:, None] * cdf[:, -1:], right=True)[:, 0].clamp_max(probs.shape[-1] - 1)
    return index if order is None else order.gather(-1, index[:, None])[:, 0]


def _record(rows: list[Row], alive: list[int], tokens: list[int], logps: list[float], stop_ids: set[int]) -> list[bool]:
    """Adds the tokens to the rows that still grow; says of each row of the batch whether it goes on."""
    keep = []
    for row_index, token, logp in zip(alive, tokens, logps, strict=True):
        row = rows[row_index]
        if not row.stopped:
            row.tokens.append(token)
            row.sum_logp += logp
            row.stopped = token in stop_ids
        keep.append(not row.stopped)
    return keep
