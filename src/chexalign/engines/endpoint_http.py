"""The connection to a server: the `openai` library, kept from sending anything but the request.

Importing this module needs the extra `endpoint`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from chexalign.errors import UserError
from chexalign.privacy import is_loopback
from chexalign.recipe.engines import EndpointSpec

# The library adds headers about this machine, and others from variables that are meant for another server.
_HEADERS = {"host", "accept", "accept-encoding", "connection", "content-length", "content-type", "user-agent"}
_DEADLINE = "chexalign_deadline"
_IDLE_S = 4.0  # connections are given up before uvicorn, after 5 s, closes them from its side


def connect(spec: EndpointSpec, *, connections: int) -> openai.OpenAI:
    """A thread-safe client with one pool of connections, which tries each request once.

    Redirects are not followed, since they could lead to another machine; a server on this machine is reached without
    the proxies of the environment. `timeout_s` is for the whole answer, however slowly it trickles in.
    Raises: UserError when the address cannot be one, or the variable of the key is not set.
    """
    check_url(spec.url)
    key = _key(spec)

    def leave_out(request: httpx2.Request) -> None:
        for name in set(request.headers) - _HEADERS:
            del request.headers[name]
        if key:
            request.headers["authorization"] = f"Bearer {key}"
        request.extensions[_DEADLINE] = time.monotonic() + spec.timeout_s

    http = httpx2.Client(
        trust_env=not is_loopback(spec.url),
        follow_redirects=False,
        timeout=httpx2.Timeout(spec.timeout_s, connect=min(30.0, spec.timeout_s)),
        limits=httpx2.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_IDLE_S
        ),
        event_hooks={"request": [leave_out], "response": [_limit]},
    )
    return openai.OpenAI(
        base_url=spec.url.rstrip("/"), api_key=key or "none", max_retries=0, timeout=spec.timeout_s, http_client=http
    )


class _Limited(httpx2.SyncByteStream):
    """A body that must be complete before the deadline of its request."""

    def __init__(self, stream: Any, request: httpx2.Request) -> None:
        self.stream, self.request = stream, request

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.stream:
            if time.monotonic() > self.request.extensions[_DEADLINE]:
                raise httpx2.ReadTimeout("the answer trickles in", request=self.request)
            yield piece

    def close(self) -> None:
        self.stream.close()


def _limit(response: httpx2.Response) -> None:
    response.stream = _Limited(response.stream, response.request)


def check_url(url: str) -> None:
    """Raises: UserError when requests could not be sent to the address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        problem = "An address starts with http:// or https:// and names a machine."
    elif parts.path.rstrip("/").endswith(("/completions", "/chat")):
        problem = "The part from /chat or /completions on is added to it."
    elif parts.username or parts.query or parts.fragment:
        problem = "Keys are not part of it, since it is written into recipe.yaml; `api_key_env` names a variable."
    else:
        return
    raise UserError(
        "The address in endpoint.url cannot be used.",
        problem,
        "Give the base address, up to and with /v1, e.g. http://127.0.0.1:8000/v1.",
    )


def _key(spec: EndpointSpec) -> str | None:
    """The key from the variable that the recipe names."""
    if spec.api_key_env is None:
        return None
    if key := os.environ.get(spec.api_key_env, "").strip():
        return key
    raise UserError(
        f"The recipe says that the key of the server is in the variable {spec.api_key_env}.",
        "It is not set, or empty.",
        f"Set it: export {spec.api_key_env}=...; or leave out api_key_env if the server asks for no key.",
    )
