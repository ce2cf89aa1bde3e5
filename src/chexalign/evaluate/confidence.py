"""How sure a policy is of an answer, from the probabilities of its tokens, and which wrong ones come first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chexalign.recipe.mine import FailureRule
from chexalign.types import Aggregate, Answer, Span

__all__ = ["Aggregate", "FailureRule", "Ranking", "Span", "confidence", "rank_failures"]

_AGGREGATES: dict[Aggregate, Callable[[Sequence[float]], float]] = {
    "mean": lambda logps: sum(map(math.exp, logps)) / len(logps),
    "geometric_mean": lambda logps: math.exp(sum(logps) / len(logps)),
    "minimum": lambda logps: math.exp(min(logps)),
}


def confidence(answer: Answer, *, aggregate: Aggregate, span: Span) -> float | None:
    """One number from the probabilities of the tokens of a span; None where the span or its log-probs are not there.

    >>> whole = Answer("q", "sft", "generation", 0, "No.", 2, ("no",), True, (math.log(0.5), 0.0), (0,))
    >>> confidence(whole, aggregate="mean", span="output"), confidence(whole, aggregate="mean", span="answer")
    (0.75, 0.5)
    """
    told = answer.token_logps or ()
    logps = told if span == "output" else [told[i] for i in answer.answer_tokens or ()]
    return min(_AGGREGATES[aggregate](logps), 1.0) if logps else None  # sums of ones can come out above 1


@dataclass(frozen=True, slots=True)
class Ranking:
    """Places of failures in a list of answers, the first to learn from first, and how many have no confidence."""

    order: tuple[int, ...]
    without_confidence: int


def rank_failures(answers: Sequence[Answer], rule: FailureRule, *, aggregate: Aggregate, span: Span) -> Ranking:
    """The answers that are not right, by falling confidence or by rising; equal ones stay in their order.

    An answer that cannot be read is a failure too, but has no confidence over the span "answer".
    """
    values = {
        i: confidence(answer, aggregate=aggregate, span=span)
        for i, answer in enumerate(answers)
        if answer.right is not True
    }
    known = {i: value for i, value in values.items() if value is not None}
    sign = -1.0 if rule == "most_confident_wrong" else 1.0
    return Ranking(tuple(sorted(known, key=lambda i: (sign * known[i], i))), len(values) - len(known))
