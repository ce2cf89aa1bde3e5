"""A served policy: every draw once, whatever the server ignores; what is ignored is recorded or refused."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from chexalign.engines.endpoint import Client
from chexalign.errors import UserError
from chexalign.policy.base import Ask, AskError, Decoding
from chexalign.policy.data_url import data_url
from chexalign.policy.endpoint import EndpointPolicy, endpoint_policy
from chexalign.recipe.engines import EndpointSpec
from tests.fault_server import Body, FaultServer, Reply, answer, draw, prompt_of, serve, whole
from tests.unit.test_endpoint import PASSING

pytest.importorskip("openai", reason="the extra `endpoint` is not installed")

SAMPLED = Decoding(32, temperature=1.0)
_open: list[EndpointPolicy] = []


def policy(server: FaultServer, **more: Any) -> EndpointPolicy:
    """A policy that hardly pauses; the test's end closes it."""
    _open.append(EndpointPolicy(Client(EndpointSpec(url=server.url, model="m", **more), pause_s=0.001)))
    return _open[-1]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


def asks(n: int, start: int = 0) -> list[Ask]:
    return [Ask(f"prompt {i}", ()) for i in range(start, start + n)]


def seeds(n: int, draws: int, start: int = 0) -> list[list[int]]:
    """Far apart, as keyed seeds are: some servers count on from the first one."""
    return [[1000 * (draws * i + j) for j in range(draws)] for i in range(start, start + n)]


def drawn(ask: Ask, seed: int, index: int = 0) -> str:
    return draw({"messages": [{"content": ask.prompt}], "seed": seed}, index)


def one_by_one(body: Body, _: int = 0) -> Reply:
    """Ignores `n` and `logprobs`, as `transformers serve` does."""
    return Reply(answer(body, [draw(body)], logps=False))


def greedy(body: Body, _: int = 0) -> Reply:
    """Ignores everything that would make it sample."""
    return Reply(answer(body, [draw({**body, "temperature": 0})] * body.get("n", 1)))


# Draws ----------------------------------------------------------------------------------------------------------------


def test_all_draws_of_a_prompt_are_one_request() -> None:
    with serve() as server:
        asked = policy(server)
        found = asked.generate(asks(5), decoding=SAMPLED, seeds=seeds(5, 4))
        wanted = [[drawn(a, s[0], i) for i in range(4)] for a, s in zip(asks(5), seeds(5, 4), strict=True)]
        assert [[c.text for c in group] for group in found] == wanted
        assert {(c.n_tokens, c.sum_logp, c.finish) for group in found for c in group} == {(12, -6.0, "stop")}
        assert Counter(b.get("n", 1) for b in server.bodies) == {4: 5, 1: 2}  # and two that try the seeds
        assert asked.ignored == []
        assert asked.sampler(SAMPLED) == "endpoint m T=1.0 top_p=1.0"


def test_a_server_that_ignores_n_is_asked_for_each_draw_with_its_own_seed() -> None:
    with serve(one_by_one) as server:
        asked = policy(server)
        for start in (0, 5):
            found = asked.generate(asks(5, start), decoding=SAMPLED, seeds=seeds(5, 3, start))
            wanted = [[drawn(a, s) for s in own] for a, own in zip(asks(5, start), seeds(5, 3, start), strict=True)]
            assert [[c.text for c in group] for group in found] == wanted
        assert {c.sum_logp for group in found for c in group} == {None}
        assert asked.ignored == ["logprobs", "n"]
        assert asked.sampler(SAMPLED).endswith("ignored=logprobs,n")
        assert len(server.bodies) == 2 * 15 + 2
        assert not any("n" in b for b in server.bodies[-15:])


def test_a_server_that_answers_with_some_of_the_choices_is_asked_for_the_rest() -> None:
    with serve(lambda body, _: Reply(answer(body, [draw(body, i) for i in range(min(2, body.get("n", 1)))]))) as server:
        found = policy(server).generate(asks(3), decoding=SAMPLED, seeds=seeds(3, 5))
    assert [len({c.text for c in group}) for group in found] == [5, 5, 5]


def test_greedy_is_asked_for_once() -> None:
    with serve() as server:
        found = policy(server).generate(asks(3), decoding=Decoding(32), seeds=seeds(3, 4))
        assert [len(group) for group in found] == [4, 4, 4]
        assert [len({c.text for c in group}) for group in found] == [1, 1, 1]
        assert len(server.bodies) == 3


def test_nothing_is_asked_for_nothing() -> None:
    with serve() as server:
        assert policy(server).generate([], decoding=SAMPLED, seeds=[]) == []
        assert policy(server).generate(asks(2), decoding=SAMPLED, seeds=[[], []]) == [[], []]
        assert server.bodies == []


def test_parts_in_several_threads_share_the_server() -> None:
    with serve(lambda body, _: Reply(whole(body), delay_s=0.01)) as server:
        asked = policy(server, concurrency=8)

        def part(i: int) -> list[list[str]]:
            found = asked.generate(asks(6, 6 * i), decoding=SAMPLED, seeds=seeds(6, 2, 6 * i))
            return [[c.text for c in group] for group in found]

        with ThreadPoolExecutor(4) as pool:
            found = [group for groups in pool.map(part, range(4)) for group in groups]
        wanted = [[drawn(a, s[0], i) for i in range(2)] for a, s in zip(asks(24), seeds(24, 2), strict=True)]
        assert found == wanted
        assert 1 < server.most_at_once <= 8
        assert len(server.bodies) == 24 + 2


@pytest.mark.slow
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    faults=st.lists(st.sampled_from(sorted(PASSING)), max_size=20),
    kind=st.sampled_from(["whole", "one by one"]),
    threads=st.integers(1, 3),
)
def test_whatever_the_faults_every_draw_is_there_once(faults: list[str], kind: str, threads: int) -> None:
    left, lock = list(faults), threading.Lock()

    def behavior(body: Body, seen: int) -> Reply:
        with lock:
            return PASSING[left.pop()] if left else one_by_one(body) if kind == "one by one" else Reply(whole(body))

    with serve(behavior) as server:
        asked = policy(server, concurrency=4, retries=len(faults))

        def part(i: int) -> list[tuple[str, ...]]:
            found = asked.generate(asks(4, 4 * i), decoding=SAMPLED, seeds=seeds(4, 3, 4 * i))
            return [tuple(c.text for c in group) for group in found]

        with ThreadPoolExecutor(threads) as pool:
            found = [group for groups in pool.map(part, range(3)) for group in groups]
        for ask, own, group in zip(asks(12), seeds(12, 3), found, strict=True):
            together = tuple(drawn(ask, own[0], i) for i in range(3))
            assert group in (together, tuple(drawn(ask, s) for s in own))
        assert len({text for group in found for text in group}) == 36
        assert Counter(asked.usage.get("failed", {})).total() == len(faults)


# What servers ignore --------------------------------------------------------------------------------------------------


def test_a_server_that_stays_greedy_is_refused() -> None:
    with serve(greedy) as server, pytest.raises(UserError, match="stays greedy") as caught:
        policy(server).generate(asks(6), decoding=SAMPLED, seeds=seeds(6, 2))
    assert len(str(caught.value).splitlines()) == 3
    assert "do_sample" in str(caught.value)


def test_other_threads_hear_of_it_too() -> None:
    with serve(greedy) as server:
        asked = policy(server)

        def part(i: int) -> None:
            with pytest.raises(UserError, match="stays greedy"):
                asked.generate(asks(3, 3 * i), decoding=SAMPLED, seeds=seeds(3, 2, 3 * i))

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(part, range(3)))


def test_a_model_that_is_sure_of_itself_is_not_taken_for_a_greedy_server() -> None:
    def sure(body: Body, _: int) -> Reply:
        return Reply(whole(body)) if body["temperature"] == 2.0 else greedy(body)

    with serve(sure) as server:
        found = policy(server).generate(asks(4), decoding=SAMPLED, seeds=seeds(4, 3))
    assert [len({c.text for c in group}) for group in found] == [1, 1, 1, 1]


def test_short_answers_tell_nothing_and_are_looked_at_again() -> None:
    def behavior(body: Body, _: int) -> Reply:
        return greedy(body) if prompt_of(body) == "prompt 9" else Reply(answer(body, ["Yes."] * body.get("n", 1)))

    with serve(behavior) as server:
        asked = policy(server)
        asked.generate(asks(4), decoding=SAMPLED, seeds=seeds(4, 2))
        with pytest.raises(UserError, match="stays greedy"):
            asked.generate(asks(1, 9), decoding=SAMPLED, seeds=seeds(1, 2, 9))


def test_a_server_that_gives_all_choices_the_same_seed_is_asked_for_each() -> None:
    with serve(lambda body, _: Reply(answer(body, [draw(body)] * body.get("n", 1)))) as server:
        asked = policy(server)

        def part(i: int) -> list[list[str]]:
            found = asked.generate(asks(4, 4 * i), decoding=SAMPLED, seeds=seeds(4, 2, 4 * i))
            return [[c.text for c in group] for group in found]

        with ThreadPoolExecutor(2) as pool:
            found = [group for groups in pool.map(part, range(2)) for group in groups]
        assert found == [[drawn(a, s) for s in own] for a, own in zip(asks(8), seeds(8, 2), strict=True)]
        assert asked.ignored == ["n"]


def test_seeds_that_are_ignored_are_noted() -> None:
    with serve(lambda body, seen: Reply(whole({**body, "seed": 31 * body["seed"] + 7 * seen}))) as server:
        asked = policy(server)
        asked.generate(asks(3), decoding=SAMPLED, seeds=seeds(3, 2))
        assert asked.ignored == ["seed"]


def test_top_k_that_is_ignored_is_refused() -> None:
    def behavior(body: Body, _: int) -> Reply:
        return Reply(whole({name: value for name, value in body.items() if name != "top_k"}))

    decoding = Decoding(32, temperature=1.0, top_k=5)
    with serve(behavior) as server, pytest.raises(UserError, match="ignores top_k"):
        policy(server).generate(asks(3), decoding=decoding, seeds=seeds(3, 2))
    with serve() as server:
        assert policy(server).generate(asks(3), decoding=decoding, seeds=seeds(3, 2))
        assert server.bodies[0]["top_k"] == 5


@pytest.mark.parametrize("kind", ["own", "tempered", "cut"])
def test_log_probs_count_only_when_they_are_the_model_s_own(kind: str) -> None:
    def behavior(body: Body, _: int) -> Reply:
        reply = whole(body)
        for choice in reply["choices"]:
            for token in choice.get("logprobs", {}).get("content", []):
                scale = 1 / body["temperature"] if kind == "tempered" else float(kind == "own" or body["top_p"] == 1)
                token["top_logprobs"][0]["logprob"] *= scale
        return Reply(reply)

    with serve(behavior) as server:
        asked = policy(server)
        for decoding, known in ((SAMPLED, True), (Decoding(32, temperature=0.7, top_p=0.9), kind == "own")):
            found = asked.generate(asks(3), decoding=decoding, seeds=seeds(3, 2))
            assert {c.sum_logp for group in found for c in group} == {-6.0 if known else None}


def test_single_tokens_are_told_only_when_asked() -> None:
    with serve() as server:
        asked = policy(server)
        for own in (False, True):
            ((found,),) = asked.generate(asks(1), decoding=replace(SAMPLED, token_logps=own), seeds=seeds(1, 1))
            assert found.token_logps == ((-0.5,) * 12 if own else None)
            assert found.token_texts is None  # this server's tokens have no spaces, so they do not spell the text


# Images and prompts that cannot be sent -------------------------------------------------------------------------------


def picture(path: Path, mode: str = "L") -> Path:
    Image.new(mode, (8, 6), 100 if mode in ("L", "I;16") else None).save(path)
    return path


@pytest.mark.parametrize(("name", "mode"), [("a.png", "L"), ("a.png", "RGB"), ("a.jpg", "L"), ("a.webp", "RGB")])
def test_files_that_every_server_reads_are_sent_as_they_are(name: str, mode: str, tmp_path: Path) -> None:
    path = picture(tmp_path / name, mode)
    head, _, data = data_url(path).partition(";base64,")
    assert head == f"data:image/{name[2:].replace('jpg', 'jpeg')}"
    assert base64.b64decode(data) == path.read_bytes()


@pytest.mark.parametrize(("name", "mode"), [("a.png", "I;16"), ("a.png", "RGBA"), ("a.tiff", "L"), ("a.bmp", "RGB")])
def test_others_are_sent_as_rgb(name: str, mode: str, tmp_path: Path) -> None:
    data = base64.b64decode(data_url(picture(tmp_path / name, mode)).partition(";base64,")[2])
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (8, 6))


def test_images_come_before_the_prompt_in_their_order(tmp_path: Path) -> None:
    paths = (picture(tmp_path / "a.png"), picture(tmp_path / "b.jpg"))
    with serve() as server:
        policy(server).generate([Ask("Findings?", paths)], decoding=SAMPLED, seeds=[[1, 2]])
        content = server.bodies[0]["messages"][0]["content"]
    assert content[2] == {"type": "text", "text": "Findings?"}
    assert [part["image_url"]["url"] for part in content[:2]] == [data_url(path) for path in paths]


def damaged(tmp_path: Path) -> Ask:
    path = picture(tmp_path / "half.png")
    path.write_bytes(path.read_bytes()[:45])
    return Ask("Findings?", (path,))


def too_long(body: Body, _: int) -> Reply:
    if prompt_of(body).startswith("long"):
        return Reply({"error": {"message": "maximum context length is 8"}}, 400)
    return Reply(whole(body))


@pytest.mark.parametrize("reason", ["image_unreadable", "prompt_too_long"])
def test_one_ask_that_cannot_be_answered_costs_the_others_nothing(reason: str, tmp_path: Path) -> None:
    bad = damaged(tmp_path) if reason == "image_unreadable" else Ask("long", ())
    wanted, own = [*asks(2), bad, *asks(2, 2)], seeds(5, 3)
    with serve(too_long) as server:
        asked = policy(server)
        with pytest.raises(AskError) as caught:
            asked.generate(wanted, decoding=SAMPLED, seeds=own)
        assert (caught.value.index, caught.value.reason) == (2, reason)
        n_requests = len(server.bodies)
        del wanted[2], own[2]
        found = asked.generate(wanted, decoding=SAMPLED, seeds=own)
        assert [[c.text for c in g] for g in found] == [
            [drawn(a, s[0], i) for i in range(3)] for a, s in zip(wanted, own, strict=True)
        ]
        assert len(server.bodies) == n_requests
        assert asked._kept == {}


def test_all_of_the_first_asks_may_be_bad(tmp_path: Path) -> None:
    bad = damaged(tmp_path)
    with serve() as server:
        asked = policy(server)
        with pytest.raises(AskError):
            asked.generate([bad], decoding=SAMPLED, seeds=[[1, 2]])
        found = asked.generate(asks(1), decoding=SAMPLED, seeds=[[1, 2]])
    assert found[0][0].sum_logp == -6.0


# Accounts -------------------------------------------------------------------------------------------------------------


def test_usage_by_parts_adds_up_to_the_whole() -> None:
    with serve() as server:
        asked = policy(server, output_price=2.0)
        taken = []
        for start in (0, 3, 6):
            asked.generate(asks(3, start), decoding=SAMPLED, seeds=seeds(3, 2, start))
            taken.append(asked.take_usage())
        assert asked.take_usage()["requests"] == 0
    for name in ("requests", "answers", "prompt_tokens", "completion_tokens"):
        assert sum(t[name] for t in taken) == asked.usage[name]
    assert sum(t["cost"] for t in taken) == pytest.approx(asked.usage["cost"])
    json.dumps(taken)


def test_opening_a_policy_asks_nothing() -> None:
    _open.append(endpoint_policy(EndpointSpec(url="http://127.0.0.1:9/v1", model="m")))


def test_a_run_that_is_broken_off_ends() -> None:
    stop: list[Callable[[], None]] = []

    def behavior(body: Body, _: int) -> Reply:
        if stop:
            stop.pop()()
        return Reply(whole(body), delay_s=0.05)

    with serve(behavior) as server:
        asked = policy(server, concurrency=2)
        stop.append(lambda: threading.Thread(target=asked.close).start())
        with pytest.raises(UserError, match="asked no more"):
            asked.generate(asks(40), decoding=SAMPLED, seeds=seeds(40, 2))
        assert len(server.bodies) < 20
