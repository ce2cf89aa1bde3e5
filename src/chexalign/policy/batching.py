"""Many asks to a policy, in batches of like length that fit into memory."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from chexalign.engines.device import is_out_of_memory
from chexalign.errors import UserError
from chexalign.policy.base import Ask, AskError, Completion, Decoding, Policy


@dataclass(slots=True)
class Batches:
    """Puts asks to a policy, `size` at a time; None leaves it to the policy.

    When memory runs out the size is halved for good, and `size` says so. The draws of an ask keep their random
    numbers, but another batch can change the last bits of its logits, and so, rarely, a token.
    """

    policy: Policy
    size: int | None
    strict: bool = False  # an ask that cannot be answered is an error
    dropped: Counter[str] = field(default_factory=Counter)

    def generate(
        self, asks: Sequence[Ask], *, decoding: Decoding, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion] | None]:
        """For each ask one completion per seed, or None when it cannot be answered; `dropped` then counts the reason.

        Raises: UserError when not even one ask fits into memory.
        """
        answers: list[list[Completion] | None] = [None] * len(asks)
        left = sorted(range(len(asks)), key=lambda i: (len(asks[i].images), len(asks[i].prompt)), reverse=True)
        while left:  # longest first: what does not fit is found out at once
            size = self.size or self.policy.batch_size(asks[left[0]], decoding=decoding, draws=len(seeds[left[0]]))
            batch = left[:size]
            try:
                found = self.policy.generate(
                    [asks[i] for i in batch], decoding=decoding, seeds=[seeds[i] for i in batch]
                )
            except AskError as e:
                if self.strict:
                    raise
                self.dropped[e.reason] += 1
                left.remove(batch[e.index])
                continue
            except (RuntimeError, MemoryError) as e:
                if not is_out_of_memory(e):
                    raise
                self._back_off(len(batch))
                continue
            for i, group in zip(batch, found, strict=True):
                answers[i] = group
            left = left[size:]
        return answers

    def _back_off(self, tried: int) -> None:
        if tried == 1:
            raise UserError(
                "Memory ran out over the candidates of one prompt.",
                "Its keys and values, times the number of candidates, do not fit beside the model.",
                "Lower sample.n or sample.max_new_tokens, set compute.generate to bf16, or use a larger GPU.",
            )
        self.size = tried // 2
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
