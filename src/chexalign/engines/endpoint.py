"""A server with the OpenAI chat-completions interface, asked by many threads at the same time."""

from __future__ import annotations

import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from chexalign.engines.endpoint_answer import Answer, Call, NonsenseError, read_answer
from chexalign.engines.endpoint_errors import FieldsError, PassingError, gave_up, read_failure
from chexalign.errors import UserError
from chexalign.recipe.engines import EndpointSpec

R = TypeVar("R")

_AHEAD = 4  # threads that read and encode images while as many requests as may be are under way
_LONGEST_PAUSE_S = 60.0


class Client:
    """Asks one server, with at most `concurrency` requests under way, whichever threads ask.

    A failure that may pass (status 408, 409, 425, 429 or 5xx, a lost connection, a time-out, an answer that is no
    answer) is tried again after a pause that doubles each time, half of it random; where the server says how long to
    wait, all requests wait. After `retries` the error is final: it ends every other request of this client too, so
    that a run whose server is gone ends once instead of once per thread.
    """

    def __init__(self, spec: EndpointSpec, *, pause_s: float = 1.0) -> None:
        try:
            from chexalign.engines.endpoint_http import connect
        except ModuleNotFoundError as e:
            raise without_library() from e
        workers = spec.concurrency + _AHEAD
        self.spec, self._pause_s = spec, pause_s
        self._http: Any = connect(spec, connections=spec.concurrency)
        self._slots = threading.Semaphore(spec.concurrency)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="endpoint")
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._final: UserError | None = None
        self._resume_at = 0.0
        self._users, self._closing = 0, False
        self._counts: Counter[str] = Counter()
        self.refused: frozenset[str] = frozenset()
        weakref.finalize(self, self._http.close)

    def ask(self, call: Call, *, fatal: bool = True) -> Answer:
        """The answer to a call; it may hold fewer choices than `n`, never more.

        With `fatal` False a call that is given up after `retries` ends no other.
        Raises: UserError for what trying again does not mend; TooLongError for a prompt beyond the context.
        """
        with self._slots, self._under_way():
            for attempt in range(self.spec.retries + 1):
                try:
                    return self._once(call)
                except PassingError as e:
                    reason, wait_s = e.reason, e.wait_s
                self._count({f"failed: {reason}": 1})
                if (wait_s or 0) > self.spec.timeout_s:
                    reason += f", asking to wait {wait_s:.0f} s, which is beyond timeout_s"
                    break
                if attempt < self.spec.retries:
                    self._pause(attempt, wait_s)
            error = gave_up(self.spec.url, reason, tries=attempt + 1)
            raise self._stop(error) if fatal else error

    def submit(self, function: Callable[..., R], *args: Any) -> Future[R]:
        """Runs a function that asks, in a thread of the client; calls begin in the order in which they came.

        Raises: UserError, here or from the future, once the client has ended.
        """

        def unless_stopped() -> R:
            self._raise_final()
            return function(*args)

        try:
            return self._pool.submit(unless_stopped)
        except RuntimeError:
            self._raise_final()
            raise

    def map(self, function: Callable[[Any], R], items: Iterable[Any]) -> list[R]:
        """The function's value for each item, in order; the first error ends those that have not begun."""
        futures = [self.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Lets what waits fail, and closes the connections once what is under way has ended."""
        self._stop(
            UserError("The server is asked no more.", "The work that asked it has ended.", "Give the command again.")
        )
        self._pool.shutdown(wait=False)  # what is queued there fails by itself, and says why
        with self._under_way():
            self._closing = True

    @property
    def usage(self) -> dict[str, Any]:
        """Requests, tokens and failures so far, and what they cost where the recipe gives prices."""
        with self._lock:
            counts = Counter(self._counts)
        return usage_of(counts, self.spec)

    def counts(self) -> Counter[str]:
        """A copy of the raw counts behind `usage`."""
        with self._lock:
            return Counter(self._counts)

    def _once(self, call: Call) -> Answer:
        """One try, repeated without those optional fields that the server does not take."""
        while True:
            self._wait_for_turn()
            body = call.body(self.spec.model, without=self.refused) | self.spec.extra_body
            try:
                answer = read_answer(self._post(body), call)
            except FieldsError as e:
                self._leave_out(e.fields, call)
            except NonsenseError as e:
                raise PassingError(f"the answer is unusable: {e}") from None
            else:
                tokens = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
                self._count({"answers": 1, **tokens})
                return answer

    def _post(self, body: dict[str, Any]) -> bytes:
        """The bytes of a successful response.

        Raises: PassingError, FieldsError, or a UserError.
        """
        import httpx2
        import openai

        self._count({"requests": 1})
        try:
            response = self._http.post("/chat/completions", cast_to=httpx2.Response, body=body)
            return bytes(response.content)
        except openai.APITimeoutError:
            raise PassingError(f"no answer within {self.spec.timeout_s:g} s") from None
        except openai.APIConnectionError as e:
            raise PassingError(f"the connection failed ({type(e.__cause__ or e).__name__})") from None
        except openai.APIStatusError as e:
            raise read_failure(
                e.status_code,
                e.response.text,
                e.response.headers,
                url=self.spec.url,
                model=self.spec.model,
                sent=body.keys() - self.spec.extra_body.keys(),
                known=self._models,
            ) from None

    def _models(self) -> list[str]:
        """The models that the server names; none when it does not."""
        import httpx2
        import openai

        try:
            content = self._http.get("/models", cast_to=httpx2.Response, options={"timeout": 10.0}).json()
            return [str(model["id"]) for model in content["data"]]
        except (openai.OpenAIError, ValueError, KeyError, TypeError):
            return []

    def _leave_out(self, fields: frozenset[str], call: Call) -> None:
        if "top_k" in fields and call.top_k is not None:
            raise UserError(
                f"The server at {self.spec.url} takes no top_k, and sample.top_k is {call.top_k}.",
                "Without it other tokens could be drawn than the recipe allows.",
                "Leave out sample.top_k, or set it in the server's own way through endpoint.extra_body.",
            )
        if fields & {"logprobs", "top_logprobs"}:
            fields |= {"logprobs", "top_logprobs"}
        with self._lock:
            self.refused |= fields

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        """Counts a user of the connections; the last one closes them, since no other thread may meanwhile."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                last = self._closing and self._users == 0
            if last:
                self._http.close()

    def _wait_for_turn(self) -> None:
        """Waits as long as the server asked all to wait."""
        while (left := self._resume_at - time.monotonic()) > 0 and not self._stopped.is_set():
            self._stopped.wait(left)
        self._raise_final()

    def _raise_final(self) -> None:
        if (final := self._final) is not None:
            raise UserError(final.what, final.why, final.fix)  # anew, as each thread adds its own traceback

    def _pause(self, attempt: int, wait_s: float | None) -> None:
        pause = min(_LONGEST_PAUSE_S, self._pause_s * 2.0**attempt)
        if wait_s is not None:
            with self._lock:
                self._resume_at = max(self._resume_at, time.monotonic() + wait_s)
        self._stopped.wait((wait_s or 0.0) + pause * random.uniform(0.5, 1.0))  # not all at the same moment

    def _stop(self, error: UserError) -> UserError:
        """Makes the error final; the first one stays."""
        with self._lock:
            self._final = self._final or error
        self._stopped.set()
        return self._final

    def _count(self, counts: dict[str, int]) -> None:
        with self._lock:
            self._counts.update(counts)


def usage_of(counts: Counter[str], spec: EndpointSpec) -> dict[str, Any]:
    """Counts in the form in which they are recorded."""
    names = ("requests", "answers", "prompt_tokens", "completion_tokens")
    found: dict[str, Any] = {name: counts[name] for name in names}
    failed = {name.removeprefix("failed: "): n for name, n in sorted(counts.items()) if name.startswith("failed: ")}
    if failed:
        found["failed"] = failed
    if spec.input_price is not None or spec.output_price is not None:
        prices = ((spec.input_price, "prompt_tokens"), (spec.output_price, "completion_tokens"))
        found["cost"] = sum((price or 0.0) * counts[name] for price, name in prices) / 1e6
    return found


def without_library() -> UserError:
    """The error for a recipe with a server where the package that asks servers is missing."""
    return UserError(
        "The recipe asks a server, and the package openai is not installed.",
        "It is an optional extra, since nothing else needs it.",
        "Install it with `pip install 'chexalign[endpoint]'`.",
    )
