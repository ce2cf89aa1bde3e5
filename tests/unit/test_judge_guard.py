"""A judge that fails on one text costs that text alone; one that is broken ends the run."""

import math

import pytest

from chexalign.errors import UserError
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.guard import guarded


class Picky:
    name, version = "picky", "1"

    def __init__(self, wrong=None):
        self.calls, self.wrong = 0, wrong

    def score(self, pairs):
        self.calls += 1
        if any("bad" in pair.candidate for pair in pairs):
            raise (self.wrong or ValueError(f"cannot read {pairs[0].candidate}"))
        return [Judgement(float(len(pair.candidate))) for pair in pairs]


def pairs(*texts):
    return [TextPair(text, "r") for text in texts]


@pytest.mark.parametrize("at", [(0,), (63,), (20, 21), (5, 40, 41), ()])
def test_only_the_texts_that_fail_are_unscored(at):
    judge = Picky()
    texts = ["bad" if i in at else "x" * (i + 1) for i in range(64)]
    found = guarded(judge, pairs(*texts))
    for i, j in enumerate(found):
        assert (j.value, j.status) == ((None, "error") if i in at else (i + 1, "ok"))
    assert {j.reason for j in found} == {None, *(["the judge raised ValueError"] if at else [])}
    assert judge.calls <= 1 + 12 * len(at)


def test_no_report_text_reaches_the_reason_or_the_error():
    assert guarded(Picky(), pairs("bad secret"))[0].reason == "the judge raised ValueError"
    with pytest.raises(UserError, match=r"judge picky failed on all of 8 texts \(ValueError\)") as e:
        guarded(Picky(), pairs(*["bad secret"] * 8))
    assert "secret" not in str(e.value)


def test_a_user_error_ends_it_at_once():
    judge = Picky(UserError("a", "b", "c"))
    with pytest.raises(UserError, match="a"):
        guarded(judge, pairs("x", "bad", "y"))
    assert judge.calls == 1


def test_too_little_memory_for_the_batch_halves_it():
    class Small(Picky):
        def score(self, pairs):
            if len(pairs) > 3:
                raise MemoryError
            return super().score(pairs)

    assert [j.value for j in guarded(Small(), pairs(*"abcdefgh"))] == [1.0] * 8


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_finite_number_is_an_error(value):
    class Odd(Picky):
        def score(self, pairs):
            return [Judgement(value), *super().score(pairs[1:])]

    first, second = guarded(Odd(), pairs("a", "b"))
    assert (first.value, first.status, first.reason) == (None, "error", "the value is not finite")
    assert second.value == 1.0


def test_a_judge_that_returns_too_few_is_asked_one_by_one():
    class Lossy(Picky):
        def score(self, pairs):
            return [j for j in super().score(pairs) if j.value != 2.0]

    assert [j.value for j in guarded(Lossy(), pairs("a", "bb", "ccc"))] == [1.0, None, 3.0]


def test_nothing_is_asked_about_nothing():
    judge = Picky()
    assert guarded(judge, []) == []
    assert judge.calls == 0
