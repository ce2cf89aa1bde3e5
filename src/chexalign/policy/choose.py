"""The next token of each row: the most probable one, or a draw with random numbers keyed to the row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from chexalign.policy.base import Decoding


@dataclass(slots=True)
class Row:
    """The state of one completion while it grows."""

    tokens: list[int]
    sum_logp: float
    stopped: bool
    logps: list[float] | None = None  # of each token, where they are asked for

    def add(self, token: int, logp: float, stop_ids: set[int]) -> None:
        """Puts a token at the end of a row that still grows."""
        if not self.stopped:
            self.tokens.append(token)
            self.sum_logp += logp
            if self.logps is not None:
                self.logps.append(logp)
            self.stopped = token in stop_ids


class Chooser:
    """Chooses tokens for rows, each with a seed of its own; `banned` ids are never chosen."""

    def __init__(self, seeds: Sequence[int], decoding: Decoding, banned: Sequence[int] = ()) -> None:
        self.decoding, self.banned = decoding, list(banned)
        self.uniforms = None if decoding.temperature == 0.0 else _uniforms(seeds, decoding.max_new_tokens)

    def __call__(self, logits: torch.Tensor, step: int, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and their log-probs [R], from the logits [R, vocabulary] of the rows with these numbers.

        Log-probs are the model's own, at temperature 1 and with nothing cut off or banned.
        """
        logps = logits.log_softmax(-1)
        if self.banned:
            logits = logits.index_fill(1, torch.tensor(self.banned, device=logits.device), float("-inf"))
        if self.uniforms is None:
            tokens = logits.argmax(-1)
        else:
            uniform = self.uniforms[step][rows.cpu()].to(logits.device)
            tokens = inverse_cdf(logits / self.decoding.temperature, uniform, self.decoding.top_p, self.decoding.top_k)
        return tokens, logps.gather(-1, tokens[:, None])[:, 0]


class Given:
    """Takes the tokens of given texts in the place of choosing any, which tells the log-probs of these texts."""

    def __init__(self, texts: Sequence[Sequence[int]]) -> None:
        self.texts = texts

    def __call__(self, logits: torch.Tensor, step: int, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As `Chooser`; a row whose text has ended is given its last token again."""
        texts = [self.texts[row] for row in rows.tolist()]
        tokens = torch.tensor([text[min(step, len(text) - 1)] for text in texts], device=logits.device)
        return tokens, logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]


def _uniforms(seeds: Sequence[int], steps: int) -> torch.Tensor:
    """[steps, rows] float64 in [0, 1), each column from its own seed."""
    columns = [np.random.Generator(np.random.Philox(seed)).random(steps) for seed in seeds]
    return torch.from_numpy(np.stack(columns, axis=1))


def inverse_cdf(
    logits: torch.Tensor, uniform: torch.Tensor, top_p: float = 1.0, top_k: int | None = None
) -> torch.Tensor:
    """The token at which the cumulative probability passes the row's uniform number.

    Of the `top_k` most probable tokens those stay that make up the mass `top_p`, as transformers cuts them.
    """
    order = None
    if top_k is not None and top_k < logits.shape[-1]:
        logits, order = logits.topk(top_k, dim=-1)
    probs = logits.softmax(-1).double()
    if top_p < 1.0:
        probs, by_mass = probs.sort(dim=-1, descending=True, stable=True)
        probs = probs.where(probs.cumsum(-1) - probs < top_p, 0.0)
        order = by_mass if order is None else order.gather(-1, by_mass)
    cdf = probs.cumsum(-1)
    index = torch.searchsorted(cdf, uniform[:, None] * cdf[:, -1:], right=True)[:, 0].clamp_max(probs.shape[-1] - 1)
    return index if order is None else order.gather(-1, index[:, None])[:, 0]
