"""What one reference policy says of completions, and what its log-probs depend on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import transformers

from chexalign import __version__
from chexalign.errors import UserError
from chexalign.policy.hf import HFPolicy
from chexalign.train.pack import Example, pack
from chexalign.train.prefix import TokenLogps
from chexalign.train.ref_cache import CachedLogp
from chexalign.train.settings import Precision
from chexalign.train.sharing import Route, compare
from chexalign.train.vision import Pixels

# A batch holds at most so many rows, about so many tokens, and so many completions to a row: logits are what fills up.
_MAX_ROWS, _MAX_TOKENS, _MAX_COMPLETIONS = 16, 16384, 8
_CHECKED_ROWS = 2

Work = tuple[Example, list[str]]  # an example and the key of each of its completions


class RefScorer:
    """Computes log-probs the way training computes the policy's: by shared prompts where that is right.

    Some rows are run both ways first; where they differ, or the model refuses sharing, each completion gets a forward
    of its own, as in training. bf16 is autocast over the weights as they were loaded.
    """

    def __init__(self, policy: HFPolicy, precision: Precision) -> None:
        self._policy, self._precision = policy, precision
        self._route: Route | None = None

    def score(self, work: Iterable[Work]) -> list[CachedLogp]:
        """One value per key; a prompt and its images are run once, or once for every eight completions.

        Raises: UserError when a log-prob is not a finite number.
        """
        return [row for batch in _batches(work) for row in self._batch(batch)]

    @torch.no_grad()
    def _batch(self, batch: Sequence[Work]) -> Iterator[CachedLogp]:
        examples = [example for example, _ in batch]
        if self._route is None:
            some = examples[:_CHECKED_ROWS]
            self._route = compare(self._policy.model, lambda route: self._run(route, some), self._precision).route
        logps = self._run(self._route, examples)
        for (example, keys), sums, counts in zip(batch, logps.sums().tolist(), logps.counts().tolist(), strict=True):
            if not all(map(math.isfinite, sums)):
                raise _not_finite(example.id)
            yield from map(CachedLogp, keys, sums, counts)

    def _run(self, route: Route, examples: Sequence[Example]) -> TokenLogps:
        """The log-probs by one of the two ways, on the model's device and in the precision of training."""
        model, device = self._policy.model, self._policy.model.device
        packed = pack(examples, pad_id=self._policy.tokenizer.pad_token_id)
        vision = Pixels(model, self._policy.processor).inputs([e.images for e in examples])
        with torch.autocast(device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            logps: TokenLogps = route(model, _moved(packed, device), _moved(vision, device))
        return logps


def ref_identity(model: Any, *, weights: str, precision: str) -> dict[str, Any]:
    """All that a reference log-prob depends on beside tokens and images.

    `weights` stands for the bytes of all files of the checkpoint: weights, adapter, configuration and processor.
    """
    return {
        "weights": weights,
        "precision": precision,
        "dtype": str(model.dtype).removeprefix("torch."),
        "attention": model.config.get_text_config()._attn_implementation,
        "device": model.device.type,
        "versions": {
            "chexalign": __version__,
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
        },
    }


def missing(work: Iterable[Work], found: Mapping[str, Any]) -> Iterator[Work]:
    """The examples with those completions that are not found, each key once."""
    seen = set(found)
    for example, keys in work:
        new = {k: c for k, c in zip(keys, example.completions, strict=True) if k not in seen}
        seen |= new.keys()
        left = list(new.items())
        for start in range(0, len(left), _MAX_COMPLETIONS):
            names, completions = zip(*left[start : start + _MAX_COMPLETIONS], strict=True)
            yield dataclasses.replace(example, completions=completions), list(names)


def _batches(work: Iterable[Work]) -> Iterator[list[Work]]:
    """Rows of one batch have the same number of completions and similar lengths."""
    batch: list[Work] = []
    for item in sorted(work, key=lambda w: (len(w[0].completions), w[0].n_tokens, w[0].id)):
        example = item[0]
        if batch and (
            len(batch) == _MAX_ROWS
            or len(batch[0][0].completions) != len(example.completions)
            or (len(batch) + 1) * example.n_tokens > _MAX_TOKENS
        ):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _moved(tensors: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def _not_finite(name: str) -> UserError:
    return UserError(
        f"A reference log-prob of {name} is not a finite number.",
        "No ratio of policy to reference can be formed with it; nothing of it was kept.",
        "Check the weights of the SFT policy; with precision bf16, try fp32.",
    )
