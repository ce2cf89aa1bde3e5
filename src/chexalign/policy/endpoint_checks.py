"""What a server makes of the parameters that it is sent, found out by a few short requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chexalign.engines.endpoint import Client
from chexalign.engines.endpoint_answer import Call
from chexalign.policy.base import Decoding

Messages = Sequence[Mapping[str, Any]]

_HOT = 2.0  # the highest temperature that the interface knows: a model that is sampled at it hardly repeats a sentence
_TELLING_TOKENS = 8  # shorter texts can come out equal by chance
_SHORT_TOKENS = 32
_SAME_LOGP = 0.005  # nats, and 5% more: what rounding and batching may change


def stays_greedy(client: Client, messages: Messages, *, seed: int) -> bool | None:
    """Whether two draws at temperature 2 with different seeds are the same text; None when that text is short.

    A server that samples draws two different texts there, however sure the model is at the temperature of the recipe.
    """
    first, second = (
        client.ask(Call(messages, max_tokens=_SHORT_TOKENS, temperature=_HOT, seed=seed + i)).choices[0] for i in (0, 1)
    )
    if first.text != second.text:
        return False
    return True if min(first.n_tokens, second.n_tokens) >= _TELLING_TOKENS else None


def forgets_seeds(client: Client, messages: Messages, decoding: Decoding, *, seed: int) -> bool:
    """Whether two draws with the same seed are different texts."""
    call = Call(
        messages,
        max_tokens=min(_SHORT_TOKENS, decoding.max_new_tokens),
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        top_k=decoding.top_k,
        seed=seed,
    )
    return client.ask(call).choices[0].text != client.ask(call).choices[0].text


def cuts_logprobs(client: Client, messages: Messages, decoding: Decoding) -> bool:
    """Whether the log-probs told are those after temperature, top-p or top-k, and not the model's own."""
    if decoding.temperature in (0.0, 1.0) and decoding.top_p == 1 and decoding.top_k is None:
        return False
    plain = Call(messages, max_tokens=1, temperature=1.0, logprobs=True)
    bent = Call(messages, max_tokens=1, temperature=_HOT, top_p=0.01, logprobs=True)
    own, told = (client.ask(call).choices[0].top_logp for call in (plain, bent))
    return own is None or told is None or abs(own - told) > _SAME_LOGP - 0.05 * own


def repeats_one_seed(client: Client, messages: Messages, *, seed: int) -> bool:
    """Whether the draws of one request at temperature 2 are all the same long text."""
    choices = client.ask(Call(messages, max_tokens=_SHORT_TOKENS, n=2, temperature=_HOT, seed=seed)).choices
    return len({c.text for c in choices}) < len(choices) and choices[0].n_tokens >= _TELLING_TOKENS


def keeps_all_tokens(client: Client, messages: Messages, *, seed: int) -> bool:
    """Whether a server ignores `top_k`: with top_k 1 two draws at temperature 2 can only be the same text."""
    first, second = (
        client.ask(Call(messages, max_tokens=_SHORT_TOKENS, temperature=_HOT, top_k=1, seed=seed + i)).choices[0]
        for i in (0, 1)
    )
    return first.text != second.text
