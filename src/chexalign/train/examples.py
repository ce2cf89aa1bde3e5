"""From studies and texts to token ids, with the same prompt rendering that inference uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chexalign.policy.base import Ask
from chexalign.policy.hf import HFPolicy
from chexalign.train.batch import Example

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Target:
    """An ask and the text that the policy is to be trained on or scored with."""

    ask: Ask
    text: str


def encode_prompts(policy: HFPolicy, asks: Sequence[Ask]) -> list[tuple[int, ...]]:
    """Token ids of each ask, image tokens expanded, without padding."""
    ids: list[tuple[int, ...]] = []
    for start in range(0, len(asks), _BATCH):
        batch = policy.encode(asks[start : start + _BATCH])
        for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            ids.append(tuple(row[mask.bool()].tolist()))
    return ids


def encode(policy: HFPolicy, targets: Sequence[Target]) -> list[Example]:
    """One example per target; the completion ends with the end token."""
    prompts = encode_prompts(policy, [t.ask for t in targets])
    end = policy.tokenizer.eos_token_id
    completions = policy.tokenizer([t.text for t in targets], add_special_tokens=False)["input_ids"]
    return [
        Example(prompt, (*completion, end), tuple(str(path) for path in target.ask.images))
        for prompt, completion, target in zip(prompts, completions, targets, strict=True)
    ]


def drop_long(examples: Sequence[Example], *, max_tokens: int) -> tuple[list[Example], dict[str, int]]:
    """The examples that fit, and how many did not; nothing is ever cut."""
    kept = [e for e in examples if e.n_tokens <= max_tokens]
    dropped = len(examples) - len(kept)
    return kept, {"longer_than_the_context": dropped} if dropped else {}
