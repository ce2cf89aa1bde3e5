"""The client of a server: what it sends, what it makes of answers, and how it meets failures."""

from __future__ import annotations

import builtins
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexalign.engines.endpoint import Client
from chexalign.engines.endpoint_answer import Call, NonsenseError, read_answer
from chexalign.engines.endpoint_errors import TooLongError, wait_of
from chexalign.errors import UserError
from chexalign.recipe.engines import EndpointSpec
from tests.fault_server import NONSENSE, Body, FaultServer, Reply, answer, draw, serve, whole

pytest.importorskip("openai", reason="the extra `endpoint` is not installed")

SECRET = "An unspeakable report."


def call(text: str = "Findings?", **more: Any) -> Call:
    return Call([{"role": "user", "content": text}], **{"max_tokens": 32, "temperature": 1.0, **more})


_open: list[Client] = []


def client(server: FaultServer, **more: Any) -> Client:
    """A client that hardly pauses; the test's end closes it."""
    _open.append(Client(EndpointSpec(url=server.url, model="m", **more), pause_s=0.001))
    return _open[-1]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


def refusal(status: int, message: str = "no") -> Reply:
    return Reply({"error": {"message": f"{message} {SECRET}"}}, status)


# Requests -------------------------------------------------------------------------------------------------------------


def test_what_is_sent_and_what_comes_back() -> None:
    with serve() as server:
        found = client(server, extra_body={"flavor": 1}).ask(call(n=3, seed=5, logprobs=True))
    assert server.bodies == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Findings?"}],
            "max_tokens": 32,
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "n": 3,
            "seed": 5,
            "logprobs": True,
            "top_logprobs": 1,
            "flavor": 1,
        }
    ]
    assert [c.text for c in found.choices] == [draw(server.bodies[0], i) for i in range(3)]
    assert {(c.n_tokens, c.sum_logp, c.top_logp, c.finish) for c in found.choices} == {(12, -6.0, -0.25, "stop")}
    assert (found.prompt_tokens, found.completion_tokens) == (7, 36)


def test_no_header_tells_of_this_machine_or_of_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "meant-for-another")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: meant-for-another")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://192.0.2.1/v1")
    monkeypatch.setenv("MY_KEY", "k-1")
    with serve() as server:
        client(server).ask(call())
        client(server, api_key_env="MY_KEY").ask(call())
    plain, keyed = server.headers
    assert "meant-for-another" not in json.dumps(server.headers)
    assert plain.keys() == {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "user-agent",
    }
    assert keyed["authorization"] == "Bearer k-1"


def test_no_prompt_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with serve() as server:
        client(server).ask(call(SECRET))
    assert SECRET not in caplog.text


def test_a_server_on_this_machine_is_reached_without_the_proxies_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serve() as server:
        assert client(server, retries=0).ask(call()).choices


def test_seeds_fit_into_32_bits() -> None:
    assert call(seed=2**63 - 1).body("m")["seed"] == 2**31 - 1


def test_requests_share_connections_and_stay_within_the_concurrency() -> None:
    with serve(lambda body, _: Reply(whole(body), delay_s=0.01)) as server:
        asked = client(server, concurrency=3)
        threads = [
            threading.Thread(target=lambda i=i: asked.map(lambda j: asked.ask(call(f"{i} {j}")), range(10)))
            for i in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.bodies) == 30
    assert server.most_at_once == 3
    assert len(server.connections) <= 3


# Failures -------------------------------------------------------------------------------------------------------------

PASSING: dict[str, Reply] = {
    "408": refusal(408),
    "409": refusal(409),
    "429": refusal(429),
    "500": refusal(500),
    "503": refusal(503),
    "cut": Reply({"choices": [{"x": "y" * 400}]}, cut=True),
    **{name: Reply(body) for name, body in NONSENSE.items()},
}


@pytest.mark.parametrize("kind", PASSING)
def test_a_failure_that_may_pass_is_tried_again(kind: str) -> None:
    with serve(lambda body, seen: PASSING[kind] if seen < 2 else Reply(whole(body))) as server:
        asked = client(server)
        assert asked.ask(call(seed=1)).choices[0].text == draw(server.bodies[0])
        assert len(server.bodies) == 3
        assert asked.usage["requests"] == 3
        assert sum(asked.usage["failed"].values()) == 2


@pytest.mark.parametrize("kind", PASSING)
def test_a_failure_that_does_not_pass_is_told_without_what_the_server_said(kind: str) -> None:
    with serve(lambda *_: PASSING[kind]) as server:
        asked = client(server, retries=2)
        with pytest.raises(UserError, match="in 3 tries") as caught:
            asked.ask(call())
        assert len(server.bodies) == 3
        assert len(str(caught.value).splitlines()) == 3
        assert SECRET not in str(caught.value)
        with pytest.raises(UserError, match="in 3 tries"):  # the others need not find out by themselves
            asked.ask(call("another"))
        assert len(server.bodies) == 3


def test_nobody_listens() -> None:
    with serve() as server:
        pass
    with pytest.raises(UserError, match="the connection failed"):
        client(server, retries=1).ask(call())


@pytest.mark.parametrize("kind", ["silent", "trickling"])
def test_a_slow_answer_is_given_up_and_asked_for_again(kind: str) -> None:
    slow = {"delay_s": 0.6} if kind == "silent" else {"trickle_s": 0.02}

    def behavior(body: Body, seen: int) -> Reply:
        return Reply(whole(body), **(slow if seen == 0 else {}))

    with serve(behavior) as server:
        asked, start = client(server, timeout_s=0.2), time.monotonic()
        assert asked.ask(call(seed=1)).choices
        assert time.monotonic() - start < 0.6
        assert asked.usage["failed"] == {"no answer within 0.2 s": 1}


def test_all_requests_wait_as_long_as_the_server_asks() -> None:
    times: list[float] = []

    def behavior(body: Body, _: int) -> Reply:
        times.append(time.monotonic())
        if len(times) == 1:
            return Reply({"error": {}}, 429, {"Retry-After": "0.3"})
        return Reply(whole(body))

    with serve(behavior) as server:
        asked = client(server, concurrency=2)
        first = asked.submit(asked.ask, call("a"))
        time.sleep(0.1)
        asked.ask(call("b"))
        first.result()
    assert min(times[1:]) - times[0] >= 0.3


def test_a_wait_beyond_the_time_out_is_no_wait() -> None:
    with serve(lambda *_: Reply({"error": {}}, 429, {"Retry-After": "3600"})) as server:
        with pytest.raises(UserError, match="asking to wait 3600 s"):
            client(server).ask(call())
        assert len(server.bodies) == 1


def test_a_wait_may_be_a_date() -> None:
    assert wait_of({}) is None
    assert wait_of({"retry-after": "2.5"}) == 2.5
    assert wait_of({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert wait_of({"retry-after": "soon"}) is None


def test_the_end_of_a_run_ends_waiting() -> None:
    with serve(lambda *_: Reply({"error": {}}, 429, {"Retry-After": "30"})) as server:
        asked = client(server)
        waiting = asked.submit(asked.ask, call())
        while not server.bodies:
            time.sleep(0.01)
        asked.close()
        with pytest.raises(UserError, match="asked no more"):
            waiting.result(timeout=5)


AT_ONCE: dict[str, tuple[Reply, str]] = {
    "no key": (refusal(401), "refuses the key"),
    "not allowed": (refusal(403), "refuses the key"),
    "elsewhere": (Reply("", 302, {"Location": "http://192.0.2.1/v1/chat/completions"}), "status 302"),
    "wrong": (refusal(400, "temperature must be"), "refuses a request"),
    "not there": (refusal(404), "status 404"),
    "too long": (refusal(400, "maximum context length is 8"), "does not fit into the context"),
    "too large": (refusal(413), "does not fit into the context"),
    "no images": (refusal(500, "image input is not supported"), "takes no images"),
    "paid up": (refusal(429, "insufficient_quota"), "used up"),
    "not made": (refusal(501), "status 501"),
}


@pytest.mark.parametrize("kind", AT_ONCE)
def test_what_trying_again_does_not_mend_is_told_at_once(kind: str) -> None:
    reply, told = AT_ONCE[kind]
    with serve(lambda *_: reply) as server:
        with pytest.raises(UserError, match=told) as caught:
            client(server).ask(call())
        assert len(server.bodies) == 1
    assert len(str(caught.value).splitlines()) == 3
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value, TooLongError) == (kind in ("too long", "too large"))


@pytest.mark.parametrize("status", [400, 404])
def test_an_unknown_model_is_told_with_the_known_ones(status: int) -> None:
    with serve(lambda *_: refusal(status, "no such model")) as server:
        server.models = ["medgemma", "other"]
        with pytest.raises(UserError, match="knows no model m") as caught:
            client(server).ask(call())
    assert "medgemma, other" in caught.value.why


def picky(*fields: str, status: int = 422) -> Any:
    """A server that refuses requests with these fields, as `transformers serve` does."""

    def behavior(body: Body, _: int) -> Reply:
        if wrong := sorted(set(fields) & body.keys()):
            return Reply({"detail": f"Unexpected fields in the request: {set(wrong)}"}, status)
        return Reply(whole(body))

    return behavior


@pytest.mark.parametrize("fields", [("top_k", "min_p"), ("n",), ("seed",), ("logprobs",), ("repetition_penalty",)])
def test_optional_fields_that_a_server_does_not_take_are_left_out(fields: tuple[str, ...]) -> None:
    with serve(picky(*fields)) as server:
        asked = client(server)
        more = asked.ask(call(n=2, seed=1, logprobs=True))
        assert asked.ask(call(seed=2)).choices
        assert asked.refused == set(fields) | ({"top_logprobs"} if fields == ("logprobs",) else set())
        assert len(server.bodies) == 3
        assert len(more.choices) == (1 if fields == ("n",) else 2)
        assert (more.choices[0].sum_logp is None) == (fields == ("logprobs",))


def test_a_choice_of_the_recipe_is_not_left_out() -> None:
    with serve(picky("top_k")) as server, pytest.raises(UserError, match="takes no top_k"):
        client(server).ask(call(top_k=5))


@pytest.mark.slow
@settings(max_examples=12)
@given(faults=st.lists(st.sampled_from(sorted(PASSING)), max_size=30), seed=st.integers(0, 100))
def test_whatever_the_faults_each_call_is_answered_once_and_rightly(faults: list[str], seed: int) -> None:
    left, lock = list(faults), threading.Lock()

    def behavior(body: Body, _: int) -> Reply:
        with lock:
            return PASSING[left.pop()] if left else Reply(whole(body))

    with serve(behavior) as server:
        asked = client(server, concurrency=4, retries=len(faults))
        found = asked.map(lambda i: asked.ask(call(f"prompt {i}", seed=seed)), range(8))
        wanted = {json.dumps(b["messages"]): draw(b) for b in server.bodies}
        assert [f.choices[0].text for f in found] == [
            wanted[json.dumps(call(f"prompt {i}").messages)] for i in range(8)
        ]
        assert len(server.bodies) == 8 + len(faults)
        assert asked.usage["answers"] == 8
        assert Counter(asked.usage.get("failed", {})).total() == len(faults)


# Settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("10.0.0.1:8000/v1", "starts with http"),
        ("http://[10.0.0.1/v1", "starts with http"),
        ("http://127.0.0.1:8000/v1/chat/completions", "is added to it"),
        ("https://user:key@127.0.0.1/v1", "Keys are not part"),
        ("http://127.0.0.1/v1?key=1", "Keys are not part"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_it(url: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        Client(EndpointSpec(url=url, model="m"))
    assert url not in str(caught.value)


def test_a_key_that_is_not_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UserError, match="NO_SUCH_KEY"):
        Client(EndpointSpec(url="http://127.0.0.1:1/v1", model="m", api_key_env="NO_SUCH_KEY"))


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "chexalign.engines.endpoint_http":
            raise ModuleNotFoundError("No module named 'openai'", name="openai")
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="openai is not installed"):
        Client(EndpointSpec(url="http://127.0.0.1:1/v1", model="m"))


def test_costs_are_counted_where_there_are_prices() -> None:
    with serve() as server:
        asked = client(server, input_price=1.0, output_price=10.0)
        asked.ask(call(n=2))
    assert asked.usage == {
        "requests": 1,
        "answers": 1,
        "prompt_tokens": 7,
        "completion_tokens": 24,
        "cost": pytest.approx((7 + 240) / 1e6),
    }


# Answers --------------------------------------------------------------------------------------------------------------


_names = ["choices", "message", "content", "logprobs", "usage", "finish_reason", "index", "logprob", "top_logprobs"]
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_names), inner, max_size=5),
    max_leaves=20,
)


def read(content: Any, **more: Any) -> Any:
    return read_answer(json.dumps(content).encode(), call(**more))


def test_choices_come_in_their_order_and_no_more_than_asked_for() -> None:
    content = answer({}, ["a", "b", "c"])
    content["choices"].reverse()
    assert [c.text for c in read(content, n=2).choices] == ["a", "b"]


def test_tokens_are_shared_out_by_length_where_nothing_tells_them_apart() -> None:
    found = read(answer({}, ["one two three", "four"]), n=2).choices
    assert [c.n_tokens for c in found] == [3, 1]
    assert [c.sum_logp for c in found] == [None, None]


def test_tokens_of_log_probs_count_where_usage_is_that_of_the_first_choice() -> None:
    content = answer({"logprobs": True}, ["one two three", "four five"])
    content["usage"]["completion_tokens"] = 3  # as llama.cpp counts
    found = read(content, n=2)
    assert [c.n_tokens for c in found.choices] == [3, 2]
    assert found.completion_tokens == 5


def test_log_probs_that_do_not_cover_the_text_are_no_log_probs() -> None:
    content = answer({"logprobs": True}, ["one two three", "four five"])
    content["choices"][0]["finish_reason"] = "length"
    assert [c.sum_logp for c in read(content, n=2).choices] == [None, -1.0]
    assert [c.sum_logp for c in read(content, n=2, max_tokens=3).choices] == [-1.5, -1.0]
    content = answer({"logprobs": True}, ["one two three"])
    for counted, known in ((3, True), (4, True), (5, False)):
        content["usage"]["completion_tokens"] = counted
        found = read(content).choices[0]
        assert (found.n_tokens, found.sum_logp is not None) == (counted, known)


def test_single_tokens_are_told_with_their_characters() -> None:
    content = answer({"logprobs": True}, ["one two"])
    tokens = content["choices"][0]["logprobs"]["content"]
    tokens[:] = [{"token": t, "logprob": -0.5} for t in ("one", " two", "<|end|>")]
    found = read(content).choices[0]
    assert (found.token_logps, found.token_texts) == ((-0.5,) * 3, ("one", " two", ""))
    tokens[1]["token"] = " three"
    assert read(content).choices[0].token_texts is None  # these tokens are not those of the text
    content = answer({"logprobs": True}, ["a\u2014"])
    raw = [[97], [0xE2, 0x80], [0x94]]
    tokens = [{"token": "?", "logprob": -0.5, "bytes": own} for own in raw]
    content["choices"][0]["logprobs"]["content"] = tokens
    assert read(content).choices[0].token_texts == ("a", "", "\u2014")
    del content["choices"][0]["logprobs"]
    assert read(content).choices[0].token_logps is None


def test_a_server_that_counts_nothing_and_says_no_reason() -> None:
    found = read({"choices": [{"message": {"content": "word " * 40}}]}).choices[0]
    assert (found.n_tokens, found.finish) == (51, "length")


def test_reasoning_that_left_no_room_is_an_empty_text() -> None:
    message = {"content": None, "reasoning_content": "Hm."}
    found = read({"choices": [{"message": message, "finish_reason": "length"}]}).choices[0]
    assert (found.text, found.finish) == ("", "length")


def test_half_a_surrogate_pair_can_be_written() -> None:
    read({"choices": [{"message": {"content": "\ud83d"}, "finish_reason": "stop"}]}).choices[0].text.encode()


@given(_json)
def test_whatever_comes_it_is_an_answer_or_nonsense(content: Any) -> None:
    with suppress(NonsenseError):
        assert read(content, n=3).choices
