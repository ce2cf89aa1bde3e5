"""Counterfactual rationales by rules: a wrong answer, and the right one's rationale edited as little as can be.

What is edited follows from the answer type. A choice gets another option, whose words take the place of the right one's
wherever the rationale has them; yes and no get the sentence that they rest on denied or stated; a list loses one item,
gets another, or has one exchanged; a free answer becomes that of another question of its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from chexalign import ids
from chexalign.data.answers import answer_text, plain
from chexalign.mine.edits import lists
from chexalign.mine.edits.answer import Slots, replaced_answer
from chexalign.mine.edits.changes import change_of, with_change
from chexalign.mine.edits.evidence import is_verify
from chexalign.mine.edits.others import Others, keyed_by_share
from chexalign.mine.edits.places import on_side, side_named, without_place
from chexalign.mine.edits.words import (
    FINDINGS,
    GROUPS,
    exchanged,
    exchanged_findings,
    has_side,
    is_finding,
    kind_of,
    number_of,
    whole,
)
from chexalign.mine.edits.yes_no import contrary
from chexalign.mine.records import Edit, EditKind, Proposals
from chexalign.types import Question

MOST = 24  # proposals per question


@dataclass
class RulesGenerator:
    """Proposes edits by rule; which of several comes first is keyed by the question's id and the seed.

    `others` is what other questions tell (see `Others.of`): how rationales of the wrong answer are worded, and the
    answers of free questions. Without it the right rationale is edited by patterns, and a free question gets a finding.
    """

    seed: int
    others: Others = field(default_factory=Others)
    version: str = field(default="rules@1", init=False)

    def propose(self, questions: Sequence[Question]) -> list[Proposals]:
        """For each question its edits; `failed` is no_rule where no rule has one."""
        return [self._of(question) for question in questions]

    def _of(self, question: Question) -> Proposals:
        edits = tuple(islice(_distinct(self._edits(question), answer_text(question)), MOST))
        return Proposals(edits, None if edits else "no_rule")

    def _edits(self, question: Question) -> Iterator[Edit]:
        if question.answer_type == "query":  # of which nothing may be right
            yield from self._lists(question)
        elif not question.answers:
            return
        elif is_verify(question):
            yield from contrary(question, self.others, self._key(question))
        elif question.options:
            yield from self._choices(question, keyed(question.options, *self._key(question)))
        else:
            yield from self._free(question)

    def _lists(self, question: Question) -> Iterator[Edit]:
        wrong = question.options or [name for name in self._others(question) if name not in question.answers]
        for answers in lists.other_lists(question, wrong[:MOST], self._key(question)):
            text = lists.written(question, answers)
            if text is not None:
                yield Edit(text, "finding" if all(map(is_finding, answers)) else "answer", answers, "rules")

    def _free(self, question: Question) -> Iterator[Edit]:
        """Another question's answer; before it, one with another word of a list (left for right) in the answer's."""
        right = question.answers[0]
        yield from (_edit(question, wrong, kind=kind) for kind, wrong in self._variants(right, question))
        yield from self._choices(question, self._others(question)[:MOST])

    def _choices(self, question: Question, others: Sequence[str]) -> Iterator[Edit]:
        """Each other option: a finding as others word it, then in words that suit it, then in those of the right one.

        The last is for the case that the others are too short: no option is to be rejected less often than the rest.
        """
        right = question.answers[0]
        for option in (other for other in others if plain(other) != plain(right)):
            if question.rationale is not None and _kind(question, right, option) == "finding":
                slots = Slots.of(question.rationale, right, question.options)
                for body in self.others.worded(question, option, tuple(slots.body), *self._key(question)):
                    yield Edit(slots.written(option, body), "finding", (option,), "rules")
            yield _edit(question, option)
            if question.rationale is not None and not has_side(option):
                yield _edit(question, option, keep_place=True)

    def _variants(self, right: str, question: Question) -> Iterator[tuple[EditKind, str]]:
        for kind, group in GROUPS:
            for word in (word for word in group if whole([word]).search(right)):
                others = [other for other in group if other != word and (kind != "side" or side_named(other) != "both")]
                yield from ((kind, exchanged(right, word, o)) for o in keyed(others, *self._key(question))[:1])

    def _others(self, question: Question) -> list[str]:
        found = self.others.answers.get((question.task, question.part), {})
        known = {plain(answer) for answer in question.answers}
        others = {answer: n for answer, n in found.items() if plain(answer) not in known}
        return keyed_by_share(others or dict.fromkeys(FINDINGS, 1), *self._key(question))

    def _key(self, question: Question) -> tuple[object, ...]:
        return ("counterfactual", self.seed, question.id)


def keyed(names: Iterable[str], *key: object) -> list[str]:
    """The names in an order that follows from them and the key alone."""
    return sorted(names, key=lambda name: ids.keyed_seed(*key, name))


def _distinct(edits: Iterable[Edit], chosen: str) -> Iterator[Edit]:
    seen = {chosen}
    for edit in edits:
        if edit.text not in seen and edit.text.strip():
            seen.add(edit.text)
            yield edit


def _edit(question: Question, wrong: str, *, kind: EditKind | None = None, keep_place: bool = False) -> Edit:
    right = question.answers[0]
    kind = kind or _kind(question, right, wrong)
    if question.rationale is None:
        return Edit(replaced_answer(question, wrong), kind or "answer", (wrong,), "rules")
    slots = Slots.of(question.rationale, right, question.options)
    body = [_body(sentence, kind, right, wrong, keep_place=keep_place) for sentence in slots.body]
    change = change_of(wrong)
    if change is not None and change_of(right) is not None:
        body = with_change(slots.body, change) or body
    if kind is None:
        kind = "attribute" if body != slots.body else "answer"
    return Edit(slots.written(wrong, body), kind, (wrong,), "rules")


def _kind(question: Question, right: str, wrong: str) -> EditKind | None:
    labels = {plain(e.text) for e in question.evidence if e.kind == "label"}
    named = all(is_finding(name) or plain(name) in labels for name in (right, wrong))
    return kind_of(right, wrong) or ("finding" if named else None)


def _body(sentence: str, kind: EditKind | None, right: str, wrong: str, *, keep_place: bool) -> str:
    side = side_named(wrong) if side_named(right) is not None else None
    if side is not None:
        return on_side(sentence, side)
    if kind == "finding" or (number_of(right) and number_of(wrong)):
        changed = exchanged_findings(sentence, right, wrong)
        moved = changed != sentence and kind == "finding" and not has_side(wrong) and not keep_place
        return without_place(changed) if moved else changed
    return exchanged(sentence, right, wrong)
