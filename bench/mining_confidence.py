"""Answers with the probability of every token: in batches, against the published loop of one question at a time."""

from __future__ import annotations

import random
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.policy.base import Ask, Decoding
from chexalign.policy.batching import Batches
from chexalign.policy.hf import HFPolicy, open_image, save_checkpoint

LIMIT = 128  # new tokens at most, as published
_SHARPER = 4.0  # random weights say nearly the same for every prompt
_WORDS = ("is", "there", "a", "an", "the", "left", "right", "lung", "heart", "effusion", "line", "large", "clear", "no")


def make_policy(folder: Path, *, questions: int, seed: int) -> tuple[HFPolicy, list[Ask]]:
    """The tiny policy with random weights, and questions that it ends its answers to at lengths of all kinds.

    Its end token is the token by which the lengths come out most different.
    """
    rng = random.Random(seed)
    texts = [" ".join(rng.choices(_WORDS, k=rng.randint(4, 14))) + "?" for _ in range(questions)]
    tokenizer = train_tokenizer(texts, vocabulary=400)
    model = build_model(tokenizer, seed=seed)
    with torch.no_grad():
        for p in model.model.language_model.parameters():
            p.mul_(_SHARPER if p.ndim == 2 else 1.0)
    save_checkpoint(model, build_processor(tokenizer), folder / "policy")
    policy = HFPolicy(folder / "policy")
    pixels = np.random.default_rng(seed)
    asks = []
    for i, text in enumerate(texts):
        path = folder / f"{i}.png"
        Image.fromarray(pixels.integers(0, 256, (128, 128), dtype=np.uint8)).save(path)
        asks.append(Ask(text, (path,)))
    policy.model.generation_config.eos_token_id = _end_token(policy, asks[:16])
    return policy, asks


def _end_token(policy: HFPolicy, asks: list[Ask]) -> int:
    from chexalign.policy.decode import decode

    rows = decode(policy.model, policy.encode(asks), seeds=[[0]] * len(asks), decoding=Decoding(LIMIT), stop_id=-1)
    texts = [row.tokens for (row,) in rows]

    def lengths(token: int) -> list[int]:
        return [text.index(token) + 1 if token in text else LIMIT for text in texts]

    # Ids in their order, so that equal spreads choose the same one; answers of a token or two are no answers.
    seen = sorted({token for text in texts for token in text})
    fit = [token for token in seen if 8 <= statistics.mean(lengths(token)) <= LIMIT / 2]
    return max(fit or seen, key=lambda token: statistics.pstdev(lengths(token)))


def published(policy: HFPolicy, asks: list[Ask]) -> list[list[float]]:
    """The probability of each token, one question at a time, from the scores that generate returns."""
    found = []
    for ask in asks:
        inputs: Any = policy.processor(
            text=[policy.render(ask)],
            images=[[open_image(path) for path in ask.images]],
            return_tensors="pt",
            add_special_tokens=False,
        )
        with torch.no_grad():
            out = policy.model.generate(
                **inputs, max_new_tokens=LIMIT, do_sample=False, output_scores=True, return_dict_in_generate=True,
                pad_token_id=0,
            )  # fmt: skip
        tokens = out.sequences[0, inputs["input_ids"].shape[1] :]
        probs = [torch.softmax(s[0], -1)[t].item() for s, t in zip(out.scores, tokens, strict=True)]
        policy.tokenizer.decode(tokens, skip_special_tokens=True)
        found.append(probs)
    return found


def batched(policy: HFPolicy, asks: list[Ask], *, size: int) -> list[list[float]]:
    """The same from our pass."""
    groups = Batches(policy, size).generate(asks, decoding=Decoding(LIMIT, token_logps=True), seeds=[[0]] * len(asks))
    return [np.exp(group[0].token_logps).tolist() for group in groups if group]


def check(policy: HFPolicy, asks: list[Ask], *, size: int) -> str:
    """Compares the two."""
    theirs, ours = published(policy, asks), batched(policy, asks, size=size)
    assert [len(own) for own in ours] == [len(own) for own in theirs], "answers of different lengths"
    worst = max(abs(a - b) for one, two in zip(theirs, ours, strict=True) for a, b in zip(one, two, strict=True))
    assert worst <= 1e-5, f"probabilities differ by {worst}"
    lengths = sorted(len(own) for own in ours)
    return (
        f"the probabilities of {sum(lengths)} tokens in {len(asks)} answers of {lengths[0]} to {lengths[-1]} tokens, "
        f"batches of {size}, agree to {worst:.0e}"
    )
