"""A request to a chat-completions server, and what its answer says."""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chexalign.types import Finish

# Values at which a parameter that not every server knows does nothing: left unsent, several servers put in values of
# their own (llama.cpp cuts at 40 tokens, vLLM reads the model's generation_config.json).
_NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
OPTIONAL = frozenset({*_NEUTRAL, "n", "seed", "logprobs", "top_logprobs", "response_format"})
_SEED_BITS = 0x7FFFFFFF  # llama.cpp takes 32 bits and keeps the largest value for itself


class NonsenseError(Exception):
    """An answer that is no chat completion; its text says what is wrong with it, and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the messages, and how the answers are drawn; temperature 0 is greedy."""

    messages: Sequence[Mapping[str, Any]]
    max_tokens: int
    n: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    seed: int | None = None
    logprobs: bool = False
    response_format: Mapping[str, Any] | None = None  # asked for where the server knows it

    def body(self, model: str, *, without: Collection[str] = ()) -> dict[str, Any]:
        """The request as JSON values, without the optional fields that the server does not take."""
        body = {
            "model": model,
            "messages": self.messages,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            **_NEUTRAL,
        }
        if self.top_k is not None:
            body["top_k"] = self.top_k
        if self.n > 1:
            body["n"] = self.n
        if self.seed is not None:
            body["seed"] = self.seed & _SEED_BITS
        if self.logprobs:
            body |= {"logprobs": True, "top_logprobs": 1}  # 0 means none to llama.cpp
        if self.response_format is not None:
            body["response_format"] = self.response_format
        return {name: value for name, value in body.items() if name not in without}


@dataclass(frozen=True, slots=True)
class Choice:
    """One text that the server wrote.

    `n_tokens` counts the end token where the server does. `sum_logp` is None where the server told no log-probs, and
    so are `top_logp`, that of the token most probable at the start, and `token_logps`. `token_texts` are the characters
    of these tokens, None where they do not spell the text.
    """

    text: str
    finish: Finish
    n_tokens: int
    sum_logp: float | None
    top_logp: float | None = None
    token_logps: tuple[float, ...] | None = None
    token_texts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The choices of one request, and the tokens that the server counted for it."""

    choices: tuple[Choice, ...]
    prompt_tokens: int
    completion_tokens: int


def read_answer(data: bytes, call: Call) -> Answer:
    """The answer in the bytes of a response.

    With several choices and no log-probs, the tokens counted are shared out by the length of the texts.
    Raises: NonsenseError.
    """
    content = _decoded(data)
    choices = content.get("choices")
    if not isinstance(choices, list) or not choices:
        raise NonsenseError("it holds no choices")
    choices = sorted(choices, key=_index)[: call.n]
    texts, finishes = [_text(c) for c in choices], [_finish(c) for c in choices]
    logps = [_logps(c) for c in choices]
    usage = content.get("usage")
    prompt, counted = (_count(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    lengths = _lengths(texts, logps, counted)
    read = []
    for choice, text, finish, logp, length in zip(choices, texts, finishes, logps, lengths, strict=True):
        whole = _is_whole(logp, length, finish, call.max_tokens)
        chosen = tuple(own for own, _ in logp) if whole else None
        read.append(
            Choice(
                text=text,
                finish=finish or ("length" if length >= call.max_tokens else "stop"),
                n_tokens=length,
                sum_logp=None if chosen is None else sum(chosen),
                top_logp=logp[0][1] if logp else None,
                token_logps=chosen,
                token_texts=_token_texts(choice, text) if whole else None,
            )
        )
    return Answer(tuple(read), prompt, max(counted, sum(lengths)))


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except ValueError:
        kind = "HTML" if data.lstrip()[:1] == b"<" else "no JSON"
        raise NonsenseError(f"it is {kind}") from None
    if not isinstance(content, dict):
        raise NonsenseError("its JSON is no object")
    return content


def _index(choice: Any) -> int:
    index = choice.get("index") if isinstance(choice, dict) else None
    return index if isinstance(index, int) else 0


def _text(choice: Any) -> str:
    """The text of a choice; one that was cut off while the model still reasoned has none."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise NonsenseError("a choice holds no message")
    text = message.get("content")
    if text is None and (choice.get("finish_reason") == "length" or message.get("reasoning_content")):
        return ""
    if not isinstance(text, str):
        raise NonsenseError("a message holds no text")
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be written to a file


def _finish(choice: dict[str, Any]) -> Finish | None:
    """Why the text ends; None when the server does not say."""
    reason = choice.get("finish_reason")
    if reason in ("content_filter", "abort", "error"):
        raise NonsenseError(f"a text was broken off ({reason})")
    if reason is None:
        return None
    return "length" if reason == "length" else "stop"


def _logps(choice: dict[str, Any]) -> list[tuple[float, float]]:
    """For each token the log-probs of it and of the token most probable there; empty when one is missing."""
    logprobs = choice.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    found = []
    for token in tokens if isinstance(tokens, list) else []:
        logp = token.get("logprob") if isinstance(token, dict) else None
        if not isinstance(logp, int | float) or not math.isfinite(logp):
            return []
        top = token.get("top_logprobs")
        first = top[0].get("logprob") if isinstance(top, list) and top and isinstance(top[0], dict) else None
        found.append((float(logp), float(first) if isinstance(first, int | float) else float(logp)))
    return found


def _token_texts(choice: dict[str, Any], text: str) -> tuple[str, ...] | None:
    """The characters that each token adds to the text, from the bytes of the tokens or else their names.

    The name of an end token, which some servers tell as well, adds nothing to the text.
    """
    tokens = choice["logprobs"]["content"]
    raw = [token.get("bytes") for token in tokens]
    if all(isinstance(own, list) and all(isinstance(b, int) and 0 <= b < 256 for b in own) for own in raw):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        found = [decoder.decode(bytes(own)) for own in raw]
    else:
        found = [str(token.get("token", "")) for token in tokens]
    for texts in (found, [*found[:-1], ""]):
        if "".join(texts).strip() == text.strip():
            return tuple(texts)
    return None


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else 0


def _lengths(texts: Sequence[str], logps: Sequence[Sequence[Any]], counted: int) -> list[int]:
    """Tokens of each text: what was counted for it alone, those with log-probs, or else a share of all."""
    if len(texts) == 1:
        return [counted or len(logps[0]) or _guess(texts[0])]
    if all(logps):
        return [len(logp) for logp in logps]
    total = counted or sum(_guess(text) for text in texts)
    size = sum(len(text) for text in texts) or 1
    ends = [round(total * sum(len(text) for text in texts[: i + 1]) / size) for i in range(len(texts))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _is_whole(logp: Sequence[Any], n_tokens: int, finish: Finish | None, max_tokens: int) -> bool:
    """Whether all tokens of a text have log-probs: llama.cpp tells none for those that end within a character.

    A server may leave out the end token.
    """
    return bool(logp) and len(logp) >= (max_tokens if finish == "length" else n_tokens - 1)


def _guess(text: str) -> int:
    """Tokens of a text by its length, for a server that counts none."""
    return round(len(text) / 4) + 1
