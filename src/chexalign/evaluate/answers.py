"""The stage that asks a policy questions about images, and reads its answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chexalign.data.answers import YES_NO, ask_text, matches, ordered, plain, read_choice, read_set
from chexalign.errors import UserError
from chexalign.policy.base import Ask, AskError, Decoding, Reads
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
    the policy is given is left out too: it would be asked about what is not there.
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
    _policy: Any = None
    _questions: Sequence[Question] = ()
    _size: int | None = None  # what memory had room for

    def setup(self) -> None:
        """Opens the policy and reads the questions."""
        self._policy = self.source.open()
        self._questions = asked(self.run, self.collection, self.split, self.limit)
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
        groups = batches.generate([self._ask(q) for _, q in shown], decoding=self.decoding, seeds=[[0]] * len(shown))
        self._size = batches.size
        for (order, question), group in zip(shown, groups, strict=True):
            for completion in group or ():
                yield answer(question, self.name, order, completion.text, completion.n_tokens)

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
                right = {plain(best.text)} == {plain(a) for a in question.answers}
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
    if len({question.id for question in found}) < len(found):
        raise UserError(
            f"The questions of {collection} hold one of them twice.",
            "It would count twice, and the interval would be too narrow.",
            f"Delete {run.questions(collection).folder} and prepare it again; if that does not help, the source is "
            "at fault.",
        )
    if limit is None or limit >= len(found):
        return found
    return [found[i * len(found) // limit] for i in range(limit)]


def orders_of(question: Question, orders: int) -> range:
    """The orders in which a question is asked: one where it has no options to put in order."""
    return range(orders if len(question.options) > 1 else 1)


def answer(question: Question, policy: str, order: int, text: str, n_tokens: int) -> Answer:
    """A written answer as it is read: right, wrong, or neither where it says nothing that can be read."""
    right = matches(question.answer_type, text, question.answers, question.options)
    read = None if right is None else _meant(question, text)
    return Answer(question.id, policy, "generation", order, text, n_tokens, read, right if read is not None else None)


def _meant(question: Question, text: str) -> tuple[str, ...] | None:
    if question.answer_type == "verify" or (question.answer_type == "choose" and question.options):
        chosen = read_choice(text, question.options or YES_NO)
        return None if chosen is None else (chosen,)
    if question.options:
        listed = read_set(text, question.options)
        return None if listed is None else tuple(sorted(listed))
    return (plain(text),)
