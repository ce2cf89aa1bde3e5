"""Lists of answers that are wrong by one item, written as the right one is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from chexalign import ids
from chexalign.data.answers import answer_text, plain
from chexalign.mine.edits.words import capital, exchanged_findings
from chexalign.types import Question


def other_lists(question: Question, wrong: Sequence[str], key: Sequence[object]) -> Iterator[tuple[str, ...]]:
    """One item exchanged, in a keyed order of all ways; then one left out or put in; never nothing at all."""
    right = question.answers
    outside = [name for name in wrong if name not in right]
    swaps = [tuple(o if a == out else a for a in right) for out in right for o in outside]
    fewer = [tuple(a for a in right if a != out) for out in right] if len(right) > 1 else []
    more = [(*right, o) for o in outside]
    place = {name: at for at, name in enumerate(question.options)}

    def order(answers: tuple[str, ...]) -> int:
        return ids.keyed_seed(*key, answers)

    for answers in (*sorted(swaps, key=order), *sorted([*fewer, *more], key=order)):
        yield tuple(sorted(answers, key=lambda a: place.get(a, len(place)))) if place else answers


def written(question: Question, answers: Sequence[str]) -> str | None:
    """The list in the form of the rationale, or of the right answer where there is none; None in other forms.

    A rationale that is no list can only have one item exchanged for another.
    """
    right = question.answers
    if question.rationale is None:
        return answer_text(replace(question, answers=tuple(answers)))
    for end in (".", ""):
        for join in (_with_and, ", ".join):
            if right and question.rationale == capital(join(right)) + end:
                return capital(join(list(answers))) + end
    if not right and answers and plain(question.rationale) in ("none", "nothing", "no finding", "no findings"):
        return capital(_with_and(list(answers))) + ("." if question.rationale.endswith(".") else "")
    gone, come = [a for a in right if a not in answers], [a for a in answers if a not in right]
    if len(gone) == len(come) == 1:
        return exchanged_findings(question.rationale, gone[0], come[0])
    return None


def _with_and(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
