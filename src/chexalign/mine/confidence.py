"""How sure a policy is of an answer: greedy answers with the probability of every token, in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from chexalign.data.answers import matches
from chexalign.errors import UserError
from chexalign.mine.span import answer_tokens
from chexalign.policy.base import Ask, Completion, Decoding
from chexalign.policy.batching import Batches
from chexalign.types import Finish, Question, QuestionKind

Aggregate = Literal["mean", "geometric_mean", "minimum"]
Span = Literal["answer", "output"]

_AGGREGATES: dict[Aggregate, Callable[[Sequence[float]], float]] = {
    "mean": lambda logps: sum(map(math.exp, logps)) / len(logps),
    "geometric_mean": lambda logps: math.exp(sum(logps) / len(logps)),
    "minimum": lambda logps: math.exp(min(logps)),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy answered to a question, whether it is right, and how probable each token was.

    An answer that is empty or cannot be read is never right. `answer_tokens` are the places of the tokens that spell
    the short answer (see `span.answer_tokens`), or None where they are not found.
    """

    question_id: str
    patient_id: str
    kind: QuestionKind
    text: str
    finish: Finish
    correct: bool
    readable: bool
    token_logps: tuple[float, ...]  # of all tokens, the end token included where the policy tells it; temperature 1
    answer_tokens: tuple[int, ...] | None


def answer_all(
    batches: Batches, questions: Sequence[Question], asks: Sequence[Ask], *, max_new_tokens: int
) -> list[Answer | None]:
    """The greedy answer to each question, or None for one that cannot be asked; `batches.dropped` then says why.

    `asks` are the questions as the policy is asked them. Cost: one pass, as sampling once.
    Raises: UserError where the policy tells no log-probs of tokens, or none but those of a certain choice.
    """
    decoding = Decoding(max_new_tokens, token_logps=True)
    found = batches.generate(asks, decoding=decoding, seeds=[[0]] * len(asks))
    answers = [
        None if group is None else read_answer(question, group[0])
        for question, group in zip(questions, found, strict=True)
    ]
    told = [answer for answer in answers if answer is not None]
    if sum(len(a.token_logps) for a in told) > 1 and not any(any(a.token_logps) for a in told):
        raise UserError(
            "The policy says of every token that it is certain.",
            "A server that divides by a temperature of 0 tells such log-probs; they rank nothing.",
            "Have the server tell log-probs of the model itself, or answer in process.",
        )
    return answers


def read_answer(question: Question, completion: Completion) -> Answer:
    """An answer from what the policy wrote.

    Raises: UserError where the completion has no log-probs of tokens.
    """
    if completion.token_logps is None:
        raise UserError(
            "The policy tells no log-probs of single tokens.",
            "Without them there is no confidence to rank answers by.",
            "Serve the model with `logprobs` switched on, or answer in process.",
        )
    right = matches(question.answer_type, completion.text, question.answers, question.options)
    texts = completion.token_texts
    return Answer(
        question_id=question.id,
        patient_id=question.patient_id,
        kind=question.kind,
        text=completion.text,
        finish=completion.finish,
        correct=right is True and bool(completion.text.strip()),
        readable=right is not None,
        token_logps=completion.token_logps,
        answer_tokens=None if texts is None or right is None else answer_tokens(question, texts),
    )


def confidence(answer: Answer, *, aggregate: Aggregate, span: Span) -> float | None:
    """One number from the probabilities of the tokens of a span; None where the span is not there.

    >>> whole = Answer("q", "p", "basic", "No.", "stop", True, True, (math.log(0.5), 0.0), (0,))
    >>> confidence(whole, aggregate="mean", span="output"), confidence(whole, aggregate="mean", span="answer")
    (0.75, 0.5)
    """
    places = range(len(answer.token_logps)) if span == "output" else answer.answer_tokens or ()
    logps = [answer.token_logps[i] for i in places]
    return min(_AGGREGATES[aggregate](logps), 1.0) if logps else None  # sums of ones can come out above 1


@dataclass(frozen=True, slots=True)
class Ranking:
    """Places of failures in a list of answers, the first to learn from first, and how many have no confidence."""

    order: tuple[int, ...]
    without_confidence: int


FailureRule = Literal["most_confident_wrong", "least_confident"]


def rank_failures(answers: Sequence[Answer], rule: FailureRule, *, aggregate: Aggregate, span: Span) -> Ranking:
    """The answers that are not right, by falling confidence or by rising; equal ones stay in their order.

    An answer that cannot be read is a failure too, but has no confidence over the span "answer".
    """
    values = {
        i: confidence(answer, aggregate=aggregate, span=span) for i, answer in enumerate(answers) if not answer.correct
    }
    known = {i: value for i, value in values.items() if value is not None}
    sign = -1.0 if rule == "most_confident_wrong" else 1.0
    return Ranking(tuple(sorted(known, key=lambda i: (sign * known[i], i))), len(values) - len(known))
