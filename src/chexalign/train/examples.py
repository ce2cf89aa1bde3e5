"""From studies and texts to token ids, with the same prompt rendering that inference uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chexalign.errors import UserError
from chexalign.policy.base import Ask
from chexalign.policy.hf import HFPolicy
from chexalign.train.pack import Example

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Target:
    """An ask and the texts that the policy is to be trained on or scored with."""

    id: str
    ask: Ask
    texts: tuple[str, ...]


def encode_prompts(policy: HFPolicy, asks: Sequence[Ask]) -> list[tuple[int, ...]]:
    """Token ids of each ask, image tokens expanded, without padding."""
    ids: list[tuple[int, ...]] = []
    for start in range(0, len(asks), _BATCH):
        batch = policy.encode(asks[start : start + _BATCH])
        for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            ids.append(tuple(row[mask.bool()].tolist()))
    return ids


def encode(policy: HFPolicy, targets: Sequence[Target]) -> list[Example]:
    """One example per target; each completion ends with the end token.

    Raises: UserError when a text is empty: there is nothing to learn from an end token alone.
    """
    for target in targets:
        if not all(text.strip() for text in target.texts):
            raise empty_completion(target.id)
    prompts = encode_prompts(policy, [t.ask for t in targets])
    texts = [text for target in targets for text in target.texts]
    end = policy.tokenizer.eos_token_id
    completions = iter(policy.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else [])
    return [
        Example(
            target.id,
            prompt,
            tuple((*next(completions), end) for _ in target.texts),
            tuple(str(path) for path in target.ask.images),
        )
        for prompt, target in zip(prompts, targets, strict=True)
    ]


def drop_long(examples: Sequence[Example], *, max_tokens: int) -> tuple[list[Example], dict[str, int]]:
    """The examples whose prompt and longest completion fit, and how many did not; nothing is ever cut."""
    kept = [e for e in examples if e.longest <= max_tokens]
    dropped = len(examples) - len(kept)
    return kept, {"longer_than_the_context": dropped} if dropped else {}


def empty_completion(name: str) -> UserError:
    """The error for a text without a word."""
    return UserError(
        f"A completion of {name} is empty.",
        "A policy would learn to write nothing: its only token is the end token.",
        "Drop empty texts before training; sampling marks them by n_tokens 1.",
    )
