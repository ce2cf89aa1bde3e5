"""The stage that asks a policy questions about images, and reads its answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chexalign.data.answers import YES_NO, ask_text, is_right, ordered, read_as
from chexalign.data.questions import spread_evenly
from chexalign.errors import UserError
from chexalign.evaluate.span import answer_tokens
from chexalign.policy.base import Ask, AskError, Completion, Decoding, Reads
from chexalign.policy.batching import Batches
from chexalign.policy.source import PolicySource
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.types import Answer, Question, Scoring

_READ_TOGETHER = 16  # questions, each with all its options


@dataclass(slots=True)
class AnswersWorker:
    """A policy's greedy answers to a slice of questions, each in every order of its options.

    By likelihood, the answer is the option whose tokens, end token included, have the highest mean log-prob; questions
    without options, and those with any number of right ones, are then left out. A question that shows more images than
    the policy is given is left out too: it would be asked about what is not there. With `confidence`, written answers
    carry the log-probs of their tokens. `only` are the ids of the questions to ask, in place of those of the split.
    """

    run: RunFolder
    collection: str
    name: str  # of the policy
    source: PolicySource
    split: str
    decoding: Decoding
    part_size: int
    max_images: int
    orders: int = 1
    scoring: Sequence[Scoring] = ("generation",)
    limit: int | None = None
    confidence: bool = False
    only: Sequence[str] | None = None
    _policy: Any = None
    _questions: Sequence[Question] = ()
    _size: int | None = None  # what memory had room for
    _unsure: bool = False  # whether some token was told to be less than certain

    def setup(self) -> None:
        """Opens the policy and reads the questions."""
        self._policy = self.source.open()
        self._questions = (
            asked(self.run, self.collection, self.split, self.limit)
            if self.only is None
            else named(self.run, self.collection, self.only)
        )
        if "likelihood" in self.scoring and not isinstance(self._policy, Reads):
            raise UserError(
                "questions.scoring names likelihood, and the policy is a server.",
                "Its interface does not tell how probable a given text is.",
                "Leave likelihood out, or evaluate a checkpoint in this process.",
            )

    def part(self, index: int) -> PartResult[Answer]:
        """The answers to one slice of questions, and why some are missing."""
        slice_ = self._questions[index * self.part_size : (index + 1) * self.part_size]
        dropped: Counter[str] = Counter()
        kept = []
        for question in slice_:
            if not question.images:
                dropped["no_image"] += 1
            elif len(question.images) > self.max_images:
                dropped["more_images_than_the_policy_is_given"] += 1
            else:
                kept.append(question)
        shown = [(order, ordered(question, order)) for question in kept for order in orders_of(question, self.orders)]
        rows: list[Answer] = []
        if "generation" in self.scoring:
            rows += self._written(shown, dropped)
        if "likelihood" in self.scoring:
            rows += self._scored([(order, q) for order, q in shown if q.answer_type in ("verify", "choose")], dropped)
        return PartResult(rows, dict(dropped))

    def _written(self, shown: Sequence[tuple[int, Question]], dropped: Counter[str]) -> Iterator[Answer]:
        batches = Batches(self._policy, self._size or self.part_size, dropped=dropped)
        decoding = replace(self.decoding, token_logps=True) if self.confidence else self.decoding
        groups = batches.generate([self._ask(q) for _, q in shown], decoding=decoding, seeds=[[0]] * len(shown))
        self._size = batches.size
        if self.confidence:
            self._check_log_probs([completion for group in groups for completion in group or ()])
        for (order, question), group in zip(shown, groups, strict=True):
            for completion in group or ():
                yield answer(question, self.name, order, completion)

    def _check_log_probs(self, found: Sequence[Completion]) -> None:
        if any(completion.token_logps is None for completion in found):
            raise UserError(
                "The policy tells no log-probs of single tokens.",
                "Without them an answer has no confidence.",
                "Serve the model with `logprobs` switched on, or answer in process.",
            )
        told = [logp for completion in found for logp in completion.token_logps or ()]
        self._unsure = self._unsure or any(told)
        if len(told) > 1 and not self._unsure:
            raise UserError(
                "The policy says of every token that it is certain.",
                "A server that divides by a temperature of 0 tells such log-probs; they rank nothing.",
                "Have the server tell log-probs of the model itself, or answer in process.",
            )

    def _scored(self, shown: Sequence[tuple[int, Question]], dropped: Counter[str]) -> Iterator[Answer]:
        left = sorted(shown, key=lambda one: len(one[1].options))  # a batch is read with as many texts for each
        while left:
            batch = left[:_READ_TOGETHER]
            try:
                found = self._policy.read([self._ask(q) for _, q in batch], [q.options or YES_NO for _, q in batch])
            except AskError as e:
                dropped[e.reason] += 1
                left.remove(batch[e.index])
                continue
            left = left[len(batch) :]
            for (order, question), options in zip(batch, found, strict=True):
                best = max(options, key=lambda completion: completion.sum_logp / completion.n_tokens)
                right = is_right(question.answer_type, (best.text,), question.answers, question.options)
                yield Answer(question.id, self.name, "likelihood", order, best.text, 0, (best.text,), right)

    def _ask(self, question: Question) -> Ask:
        return Ask(ask_text(question), tuple(self.run.image_path(image) for image in question.images))


def asked(run: RunFolder, collection: str, split: str, limit: int | None = None) -> list[Question]:
    """The questions of a split, or so many of them, spread evenly.

    Raises: UserError when the table is not finished, has none of the split, or holds a question twice.
    """
    found = [question for question in run.questions(collection).iter_rows() if question.split == split]
    if not found:
        raise UserError(
            f"The questions of {collection} have none of the split {split}.",
            "Policies cannot be compared on nothing.",
            "Set questions.split to another split, or evaluate: false for this collection.",
        )
    _need_each_once(run, collection, found)
    return spread_evenly(found, limit)


def named(run: RunFolder, collection: str, only: Sequence[str]) -> list[Question]:
    """The questions of these ids, of any split, in the order of their table.

    Raises: UserError when the table is not finished, has none of one of the ids, or holds one of them twice.
    """
    wanted = set(only)
    found = [question for question in run.questions(collection).iter_rows() if question.id in wanted]
    if missing := sorted(wanted - {question.id for question in found}):
        raise UserError(
            f"The questions of {collection} have none with the id {missing[0]}.",
            f"{len(missing)} of {len(wanted)} questions that were to be asked are not in the table.",
            f"Prepare the collection again, or name questions of {run.questions(collection).folder}.",
        )
    _need_each_once(run, collection, found)
    return found


def _need_each_once(run: RunFolder, collection: str, found: Sequence[Question]) -> None:
    if len({question.id for question in found}) < len(found):
        raise UserError(
            f"The questions of {collection} hold one of them twice.",
            "It would count twice, and the interval would be too narrow.",
            f"Delete {run.questions(collection).folder} and prepare it again; if that does not help, the source is "
            "at fault.",
        )


def orders_of(question: Question, orders: int) -> range:
    """The orders in which a question is asked: one where it has no options to put in order."""
    return range(orders if len(question.options) > 1 else 1)


def answer(question: Question, policy: str, order: int, completion: Completion) -> Answer:
    """A written answer as it is read: right, wrong, or neither where it says nothing that can be read.

    It carries the log-probs of its tokens where the completion does.
    """
    read = read_as(question.answer_type, completion.text, question.options)
    texts = completion.token_texts
    return Answer(
        question_id=question.id,
        policy=policy,
        scoring="generation",
        order=order,
        text=completion.text,
        n_tokens=completion.n_tokens,
        read=read,
        right=None if read is None else is_right(question.answer_type, read, question.answers, question.options),
        token_logps=completion.token_logps,
        answer_tokens=None if read is None or texts is None else answer_tokens(question, texts, read),
    )
