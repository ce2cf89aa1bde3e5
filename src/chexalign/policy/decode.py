"""Token by token decoding over a shared prefill, with random numbers keyed to each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from chexalign.policy.base import Decoding
from chexalign.policy.cache import reserved_cache
from chexalign.policy.choose import Chooser, Given, Row
from chexalign.policy.families import Family, family_of, unwrap

_TEXT = {"input_ids", "attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids"}
# Dropping finished rows costs a copy of the cache, so it waits until a quarter of the rows are done.
_COMPACT_BELOW = 0.75


@torch.no_grad()  # not inference mode: torch.compile cannot build code for its tensors
def decode(
    model: Any,
    inputs: dict[str, torch.Tensor],
    *,
    seeds: Sequence[Sequence[int]],
    decoding: Decoding,
    stop_id: int | Sequence[int],
    banned: Sequence[int] = (),
    texts: Sequence[Sequence[Sequence[int]]] | None = None,
) -> list[list[Row]]:
    """For each prompt row of `inputs` (left-padded) one Row per seed; the prompt and its images are run once.

    A row ends with its first token that is a `stop_id`, which is kept. `banned` ids are never written. With `texts`,
    token ids that end in a `stop_id`, one list per seed, nothing is chosen: these are read, and a row says how probable
    its text is.

    Cost: one prefill per prompt, then one forward per token over the rows that are not finished; where the model's
    family takes no positions or masks of ours, a call of transformers' generate per draw.
    All prompts must have the same number of seeds. Masks and positions are those of the model's family.
    """
    stop_ids = {stop_id} if isinstance(stop_id, int) else set(stop_id)
    family = family_of(model)
    if not family.supports_sharing:
        return _generated(model, inputs, seeds, decoding, stop_ids, banned, texts)
    draws = len(seeds[0])
    flat = [seed for row in seeds for seed in row]
    rows = _new_rows(len(flat), decoding)
    choose = Chooser(flat, decoding, banned) if texts is None else Given([text for row in texts for text in row])
    cache = reserved_cache(model.config)
    prefill = _prefill(family, model, inputs)
    out = model(**prefill, past_key_values=cache, use_cache=True, logits_to_keep=1)
    mask = inputs["attention_mask"]
    last = _last_positions(prefill["position_ids"], mask).repeat_interleave(draws, -1)
    logits = out.logits[:, -1].float().repeat_interleave(draws, 0)
    cache.batch_repeat_interleave(draws)
    mask = mask.repeat_interleave(draws, 0)
    alive = torch.arange(len(rows), device=mask.device)
    for step in range(decoding.max_new_tokens):
        tokens, logps = choose(logits, step, alive)
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


def _new_rows(n: int, decoding: Decoding) -> list[Row]:
    return [Row([], 0.0, stopped=False, logps=[] if decoding.token_logps else None) for _ in range(n)]


def _prefill(family: Family, model: Any, inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Arguments of the forward over the prompts: a row without completions is packed like one with them."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    vision = {k: v for k, v in inputs.items() if k in family.accepts and k not in _TEXT}
    # Positions are counted from the first real token, as at every later step.
    batch = {"input_ids": ids, "segments": mask - 1, "positions": (mask.cumsum(1) - 1).clamp_min(0)}
    return {"input_ids": ids, **family.inputs(unwrap(model), batch, vision), **vision}


def _last_positions(position_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[B], or [3, B] where positions have axes: the largest of each prompt, from which all axes go on together."""
    last = position_ids.masked_fill(mask == 0, 0).amax(-1)
    return last if last.ndim == 1 else last.amax(0).expand(len(last), -1)


def _record(rows: list[Row], alive: list[int], tokens: list[int], logps: list[float], stop_ids: set[int]) -> list[bool]:
    """Adds the tokens to the rows that still grow; says of each row of the batch whether it goes on."""
    for row_index, token, logp in zip(alive, tokens, logps, strict=True):
        rows[row_index].add(token, logp, stop_ids)
    return [not rows[row_index].stopped for row_index in alive]


def _generated(
    model: Any,
    inputs: dict[str, torch.Tensor],
    seeds: Sequence[Sequence[int]],
    decoding: Decoding,
    stop_ids: set[int],
    banned: Sequence[int],
    texts: Sequence[Sequence[Sequence[int]]] | None,
) -> list[list[Row]]:
    """The same rows from transformers' generate, one call per draw, for models that place their tokens themselves."""
    from transformers import GenerationConfig, LogitsProcessorList

    family, ids = family_of(model), inputs["input_ids"]
    types = family.token_types(ids, torch.zeros_like(ids, dtype=torch.bool))
    config = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        do_sample=False,
        eos_token_id=sorted(stop_ids),  # never None: the model's own would take its place
        pad_token_id=0,
    )
    groups: list[list[Row]] = [[] for _ in seeds]
    for i, draw in enumerate(zip(*seeds, strict=True)):
        rows = _new_rows(len(draw), decoding)
        choose = Chooser(draw, decoding, banned) if texts is None else Given([row[i] for row in texts])

        def write(
            sequences: torch.Tensor, scores: torch.Tensor, rows: list[Row] = rows, choose: Chooser | Given = choose
        ) -> torch.Tensor:
            step = sequences.shape[1] - ids.shape[1]
            everyone = torch.arange(len(rows))
            tokens, logps = choose(scores.float(), step, everyone)
            _record(rows, everyone.tolist(), tokens.tolist(), logps.tolist(), stop_ids)
            return torch.full_like(scores, float("-inf")).scatter_(1, tokens[:, None], 0.0)

        model.generate(**(types | inputs), generation_config=config, logits_processor=LogitsProcessorList([write]))
        for group, row in zip(groups, rows, strict=True):
            group.append(row)
    return groups
