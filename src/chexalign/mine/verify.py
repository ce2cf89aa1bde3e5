"""Whether an edit may be learned from as a rejected answer: it is wrong, and nothing but that tells it apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chexalign.data.answers import matches, plain, read_set
from chexalign.judges.chexpert import label
from chexalign.judges.normalize import count_words
from chexalign.mine.edits.answer import Slots
from chexalign.mine.edits.evidence import contradicts, supports
from chexalign.mine.edits.words import FINDINGS, pieces, whole
from chexalign.mine.fluency import Heard, has_more_faults
from chexalign.mine.records import Edit
from chexalign.types import Question

_TAG = re.compile(r"</?\w+>")
_LETTER = re.compile(r"^\s*\(?[A-Z][).:]|\([A-Z]\)|\b(?:[Aa]nswer|[Oo]ption)(?: is)?:? \(?[A-Z]\b")
_MARKUP = re.compile(r"[*`#]+|^\s*(?:[-•]|\d+[.)])\s", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a rejected answer may be from the chosen one.

    A difference of `spare_words` words or `spare_characters` characters is never too much: it is the difference
    between the names of two findings.
    """

    ratio: float = 1.5  # of words, of characters and of tokens, in either direction
    spare_words: int = 1
    spare_characters: int = 8
    max_drop: float | None = None  # nats by which the mean log-prob of a token may lie below that of the chosen text

    def __post_init__(self) -> None:
        if self.ratio < 1 or min(self.spare_words, self.spare_characters, self.max_drop or 0) < 0:
            raise ValueError("Limits: a ratio is at least 1, the others at least 0")


def question_fault(question: Question, chosen: str) -> str | None:
    """Why a question has no pair to learn from, whatever is proposed; None where it may have one.

    no_answer: nothing is right and that cannot be said; answer_unreadable: what is to be chosen is not read as right;
    contradicts_evidence: the evidence says that the right answer is wrong.
    """
    if not any(plain(answer) for answer in question.answers) and not (
        question.answer_type == "query" and not question.answers
    ):
        return "no_answer"
    if not chosen.strip() or matches(question.answer_type, chosen, question.answers, question.options) is not True:
        return "answer_unreadable"
    return "contradicts_evidence" if question.answers and contradicts(question) else None


def verify(
    question: Question,
    chosen: str,
    edit: Edit,
    *,
    limits: Limits | None = None,
    heard: tuple[Heard, Heard] | None = None,
) -> str | None:
    """Why an edit is rejected, the first reason that applies; None where it passes.

    unreadable, still_right, same_labels, still_supported, length, style, not_fluent. `heard` is what a policy finds of
    the chosen text and of the edit; without it tokens are not counted and fluency is that of the grammar.

    The policy's own answer (kind "own") is no edit of the chosen text: it need not change a label, and may have
    another form and another number of sentences; nor is it asked to be as probable, since the policy wrote it.
    """
    limits, own = limits or Limits(), edit.kind == "own"
    if (fault := _misread(question, edit)) is not None:
        return fault
    if not own and _says_the_same(question, chosen, edit):
        return "same_labels"
    if supports(question, edit.answers, edit.text, chosen):
        return "still_supported"
    if _too_long_or_short(chosen, edit.text, limits, heard):
        return "length"
    if not own and style_of(edit.text) != style_of(chosen):
        return "style"
    if has_more_faults(edit.text, chosen):
        return "not_fluent"
    if heard is None or limits.max_drop is None or own:
        return None
    return "not_fluent" if heard[0].mean_logp - heard[1].mean_logp > limits.max_drop else None


def style_of(text: str) -> tuple[object, ...]:
    """What two texts of one style share: sentences, how the last one ends, tags, letters and markup."""
    text = text.strip()
    end = re.search(r"\W*$", text)
    return (
        len(pieces(text)),
        end[0] if end else "",
        tuple(_TAG.findall(text)),
        len(_LETTER.findall(text)),
        len(_MARKUP.findall(text)),
        text[:1].isupper(),
    )


def _misread(question: Question, edit: Edit) -> str | None:
    """The text must be read as what the edit says that it answers, and that must be wrong."""
    right = matches(question.answer_type, edit.text, question.answers, question.options)
    if right is None or not edit.text.strip():
        return "unreadable"
    if right or {plain(a) for a in edit.answers} == {plain(a) for a in question.answers}:
        return "still_right"
    if edit.kind == "own":
        return None
    if question.answer_type == "query" and not edit.answers:  # none of the options
        return None if read_set(edit.text, question.options) == frozenset() else "unreadable"
    meant = matches(question.answer_type, edit.text, edit.answers, question.options)
    return None if meant else "unreadable"


def _says_the_same(question: Question, chosen: str, edit: Edit) -> bool:
    """Whether nothing but the answer itself differs, or the labels that an edit of findings is about."""
    if len(question.answers) == 1 and question.answer_type != "query":
        options = question.options or ("yes", "no")
        body = Slots.of(chosen, question.answers[0], options).body
        other = Slots.of(edit.text, edit.answers[0], options).body if len(edit.answers) == 1 else []
        if body and [plain(s) for s in body] == [plain(s) for s in other]:
            return True
    if edit.kind not in ("negation", "finding") or (edit.kind == "finding" and question.options):
        return False  # that the options are different is for the question to say
    before, after = _labels(chosen), _labels(edit.text)
    return bool(before) and before == after and _labeler_knows(question, chosen, edit)


def _labeler_knows(question: Question, chosen: str, edit: Edit) -> bool:
    """Whether the offline labeler tells the findings that an edit is about from their absence."""
    named = {plain(e.text.split("/")[0]) for e in question.evidence if e.kind == "label"} | {plain(question.part)}
    about = {name for name in named | set(FINDINGS) if name and whole([name]).search(chosen)}
    if edit.kind == "finding":
        about = {plain(a) for a in question.answers} ^ {plain(a) for a in edit.answers}
    return all(_labels(f"There is {name}.") != _labels(f"There is no {name}.") for name in about)


def _labels(text: str) -> dict[str, int]:
    return {name: value for name, value in label(text).items() if value is not None and name != "No Finding"}


def _too_long_or_short(chosen: str, other: str, limits: Limits, heard: tuple[Heard, Heard] | None) -> bool:
    sizes = [
        (count_words(chosen), count_words(other), limits.spare_words),
        (len(chosen), len(other), limits.spare_characters),
    ]
    if heard is not None:  # a word is a token or several
        sizes.append((heard[0].n_tokens, heard[1].n_tokens, 2 * limits.spare_words))
    return any(abs(a - b) > spare and max(a, b) > limits.ratio * min(a, b) for a, b, spare in sizes)
