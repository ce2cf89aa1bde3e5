"""Asks go to a policy in batches of like length; neither lack of memory nor an ask without an answer loses others."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chexalign.errors import UserError
from chexalign.policy.base import Ask, AskError, Completion, Decoding
from chexalign.policy.batching import Batches

DECODING = Decoding(8)
OUT_OF_MEMORY = [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("not enough memory: 3 GB")]


@dataclass
class Fake:
    """Writes the prompt and the seed; takes `room` letters at a time, and no prompt that begins with `bad`."""

    room: int = 10**6
    error: BaseException = field(default_factory=lambda: torch.OutOfMemoryError("CUDA out of memory"))
    auto: int = 3
    batches: list[list[str]] = field(default_factory=list)

    def generate(self, asks: Sequence[Ask], *, decoding: Decoding, seeds: Sequence[Sequence[int]]):
        if len(asks) * max(len(ask.prompt) for ask in asks) > self.room:
            raise self.error
        for index, ask in enumerate(asks):
            if ask.prompt.startswith("bad"):
                raise AskError(UserError("a", "b", "c"), index=index, reason="image_unreadable")
        self.batches.append([ask.prompt for ask in asks])
        return [
            [Completion(f"{ask.prompt} {seed}", 1, -1.0, "stop") for seed in row]
            for ask, row in zip(asks, seeds, strict=True)
        ]

    def batch_size(self, ask: Ask, *, decoding: Decoding, draws: int) -> int:
        return self.auto


def asks_of(prompts: Sequence[str], images: int = 1) -> list[Ask]:
    return [Ask(prompt, (Path("a.png"),) * images) for prompt in prompts]


def run(batches: Batches, prompts: Sequence[str]):
    seeds = [[i, 100 + i] for i in range(len(prompts))]
    found = batches.generate(asks_of(prompts), decoding=DECODING, seeds=seeds)
    return [None if group is None else [c.text for c in group] for group in found]


@given(st.lists(st.text("ab", min_size=1, max_size=12), max_size=15), st.integers(1, 6), st.integers(12, 40))
def test_every_ask_is_answered_in_its_place_whatever_the_batches(prompts, size, room):
    policy = Fake(room=room)
    found = run(Batches(policy, size), prompts)
    assert found == [[f"{p} {i}", f"{p} {100 + i}"] for i, p in enumerate(prompts)]
    assert sorted(p for batch in policy.batches for p in batch) == sorted(prompts), "each once"


def test_a_batch_holds_asks_of_like_length_longest_first():
    policy = Fake()
    run(Batches(policy, 2), ["aa", "aaaaaa", "a", "aaaaa"])
    assert policy.batches == [["aaaaaa", "aaaaa"], ["aa", "a"]]


def test_a_policy_may_choose_the_size():
    policy = Fake(auto=4)
    run(Batches(policy, None), ["a"] * 10)
    assert [len(batch) for batch in policy.batches] == [4, 4, 2]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_the_size_is_halved_for_good_when_memory_runs_out(error):
    policy = Fake(room=10, error=error)
    batches = Batches(policy, 16)
    assert None not in run(batches, ["aa"] * 16)
    assert batches.size == 4
    assert {len(batch) for batch in policy.batches} == {4}


def test_one_ask_that_does_not_fit_is_the_users_error():
    with pytest.raises(UserError, match="Memory ran out over the candidates of one prompt"):
        run(Batches(Fake(room=1), 4), ["aaaa"] * 2)


def test_other_errors_come_out():
    with pytest.raises(RuntimeError, match="index out of range"):
        run(Batches(Fake(room=1, error=RuntimeError("index out of range")), 4), ["aaaa"])


def test_asks_that_cannot_be_answered_are_left_out_and_counted():
    batches = Batches(Fake(), 3)
    found = run(batches, ["good", "bad one", "fine", "bad two", "ok"])
    assert [group is None for group in found] == [False, True, False, True, False]
    assert batches.dropped == {"image_unreadable": 2}
