"""What a failed request means: it may pass, the server does not take a field, or the user has to do something.

Messages of servers may quote the prompt; so they are searched for known words and never shown.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from chexalign.engines.endpoint_answer import OPTIONAL
from chexalign.errors import UserError

_MAY_PASS = frozenset({408, 409, 425, 429})
_NEVER_PASSES = frozenset({501, 505})
_TOO_LONG = re.compile(
    r"context[ _](length|size|window)|exceed_context|longer than the (maximum|model)|maximum model length",
    re.IGNORECASE,
)
_NO_IMAGES = re.compile(
    r"image input is not supported|not support (image|vision|multi)|not a multimodal|no multimodal", re.IGNORECASE
)
_SCHEMA = re.compile(r"json_schema|\bgrammar\b|structured output|guided", re.IGNORECASE)  # not by the field's name
_SHOWN_MODELS = 5


class PassingError(Exception):
    """A failure after which the same request may succeed; `wait_s` is how long the server asks to wait."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.wait_s = reason, wait_s


class FieldsError(Exception):
    """The server does not take some of the optional fields."""

    def __init__(self, fields: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(fields)))
        self.fields = fields


class TooLongError(UserError):
    """One prompt does not fit into the model's context; others may."""


def read_failure(
    status: int, text: str, headers: Any, *, url: str, model: str, sent: Collection[str], known: Callable[[], list[str]]
) -> Exception:
    """What a response with an error status means; `known` asks the server which models it names."""
    if _NO_IMAGES.search(text):
        return UserError(
            f"The model {model} at {url} takes no images.",
            "The server says so; llama.cpp needs the file of the vision part beside that of the language model.",
            "Start the server with a vision-language model (llama.cpp: --mmproj FILE).",
        )
    if status in _MAY_PASS or (status >= 500 and status not in _NEVER_PASSES):
        return _passing(status, text, headers, url=url)
    if status in (401, 403):
        return UserError(
            f"The server at {url} refuses the key (status {status}).",
            "It asks for a key that it knows, and takes none other.",
            "Name the environment variable that holds the key in endpoint.api_key_env.",
        )
    if status in (400, 413, 422) and (found := _mendable(status, text, url=url, model=model, sent=sent)):
        return found
    if status == 404 or re.search(r"\bmodel\b|pinned", text):
        names = known()
        if names and model not in names:
            return _unknown_model(url, model, names)
    if status in (400, 422):
        return UserError(
            f"The server at {url} refuses a request (status {status}).",
            "It takes no such parameters, or no such messages or images; its log says which.",
            "Read that log; sample.temperature, top_p, max_new_tokens and endpoint.extra_body are what was sent.",
        )
    return UserError(
        f"The server at {url} answers with status {status}.",
        "Chat completions are asked for at the address followed by /chat/completions, without going on elsewhere."
        if status < 404
        else f"It knows no model {model}, or answers no chat completions at that address.",
        "Check endpoint.url (up to and with /v1) and endpoint.model.",
    )


def _passing(status: int, text: str, headers: Any, *, url: str) -> Exception:
    if status == 429 and "insufficient_quota" in text:
        return UserError(
            f"The account at {url} is used up.",
            "The server refuses further requests until it is paid for; what is finished is kept.",
            "Fill up the account and give the same command again.",
        )
    return PassingError(f"status {status}", wait_of(headers))


def _unknown_model(url: str, model: str, known: Sequence[str]) -> UserError:
    more = ", ..." if len(known) > _SHOWN_MODELS else ""
    return UserError(
        f"The server at {url} knows no model {model}.",
        f"It knows: {', '.join(name[:80] for name in known[:_SHOWN_MODELS])}{more}.",
        "Give one of these names as endpoint.model.",
    )


def _mendable(status: int, text: str, *, url: str, model: str, sent: Collection[str]) -> Exception | None:
    """The error of a request that is wrong in a known manner, or None."""
    if fields := frozenset(name for name in OPTIONAL & set(sent) if _names(text, name)):
        return FieldsError(fields)
    if _TOO_LONG.search(text) or status == 413:
        return TooLongError(
            f"A prompt with its images and max_new_tokens does not fit into the context of {model} at {url}.",
            "The server refuses it, rather than cut it.",
            "Start the server with a longer context (vLLM: --max-model-len), or send fewer images or tokens.",
        )
    return None


def _names(text: str, field: str) -> bool:
    """Whether a message names the field, as a word of its own; `n` only in quotes."""
    if field == "response_format" and _SCHEMA.search(text):
        return True
    if len(field) == 1:
        return re.search(rf"[\"'`]{field}[\"'`]", text) is not None
    return re.search(rf"\b{field}\b", text) is not None


def wait_of(headers: Any) -> float | None:
    """Seconds that a Retry-After header asks to wait: a number, or a date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def gave_up(url: str, reason: str, *, tries: int) -> UserError:
    """The error of a request that failed in passing once too often."""
    return UserError(
        f"The server at {url} gave no usable answer in {tries} tries; the last time: {reason}.",
        "It is down, overloaded or no chat-completions server; finished parts are kept.",
        "See that it runs and answers, then give the same command again; retries and timeout_s may be raised.",
    )
