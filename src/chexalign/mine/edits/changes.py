"""What two exams say of a finding's course: which change a question asks about, and a rationale with another one."""

from __future__ import annotations

import re
from typing import Literal, get_args

from chexalign.data.answers import plain
from chexalign.mine.edits.negation import denied
from chexalign.mine.edits.words import GRADES, capital, exchanged
from chexalign.types import Question

Change = Literal["improved", "worsened", "unchanged", "new", "resolved"]
CHANGES: tuple[Change, ...] = get_args(Change)

_WORDS: dict[Change, str] = {
    "resolved": r"resolved|gone|disappeared|no longer|cleared",
    "new": r"new|newly|appeared|not on the prior|not there before|absent before",
    "unchanged": r"unchanged|stable|the same|as it was|no change|not changed",
    "improved": r"improved|better|less|decreased|smaller|fewer",
    "worsened": r"worsened|worse|more|increased|larger|progressed",
}
_ASKED = {change: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for change, words in _WORDS.items()}
_GRADE = "|".join(GRADES)
_FROM_TO = re.compile(rf" from (?:{_GRADE}) to (?:{_GRADE})\b")
_AND_GRADE = re.compile(rf" and ({_GRADE})\b")
_STATED = re.compile(
    r"\b(?P<verb>has improved|have improved|has decreased|have decreased|has worsened|have worsened|has increased"
    r"|have increased|(?:is|are|remains?) (?:unchanged|stable)|has resolved|have resolved|(?:is|are) new)\b",
    re.IGNORECASE,
)
_OF_PRIOR = re.compile(r" (?:of|on|from) the prior (?:image|exam|study)", re.IGNORECASE)
_AS_PRIOR = re.compile(r", as on the prior (?:image|exam|study)", re.IGNORECASE)
_THEN = re.compile(
    r"^(?P<it>it|they) (?P<was>was|were) (?:absent|not (?:seen|present|there|visible))(?P<rest> .*)$", re.IGNORECASE
)
_WORSE = {"mild": "severe", "small": "large", "minimal": "extensive", "slight": "marked", "moderate": "severe"}
_BETTER = {"severe": "mild", "large": "small", "extensive": "minimal", "marked": "slight", "moderate": "mild"}
_LESS_OR_MORE: dict[Change, str] = {"worsened": "less severe", "improved": "more severe", "unchanged": "the same"}


def change_of(words: str) -> Change | None:
    """The change that an answer means; None for any other.

    >>> change_of("Worsened."), change_of("edema")
    ('worsened', None)
    """
    found = plain(words)
    alike: dict[str, Change] = {"stable": "unchanged", "no change": "unchanged", "worse": "worsened"}
    return next((change for change in CHANGES if change == found), alike.get(found))


def asked_change(question: Question) -> Change | None:
    """The one change that a question asks about, by its part or its words; None where it names none or several."""
    if (known := change_of(question.part)) is not None:
        return known
    found = [change for change, words in _ASKED.items() if words.search(question.text)]
    return found[0] if len(found) == 1 else None


def stated_change(body: list[str]) -> Change | None:
    """The change that the sentences of a rationale state, in one of the forms that `with_change` can rewrite."""
    if body and _THEN.match(body[-1]):
        return "new"
    found = [match for sentence in body if (match := _STATED.search(sentence))]
    if len(found) != 1:
        return None
    word = found[0]["verb"].lower().split()[-1]
    return change_of({"decreased": "improved", "increased": "worsened"}.get(word, word))


def with_change(body: list[str], to: Change) -> list[str] | None:
    """The sentences of a rationale with another change in them, as many as before; None where no form is known.

    >>> with_change(["The edema has improved from severe to mild."], "unchanged")
    ['The edema is unchanged and mild, as on the prior image.']
    """
    if body and (then := _THEN.match(body[-1])):
        return _since_then(body, then, to)
    at = next((i for i, sentence in enumerate(body) if _STATED.search(sentence)), None)
    if at is None:
        return None
    return [*body[:at], _restated(body[at], to), *body[at + 1 :]]


def _restated(sentence: str, to: Change) -> str:
    """Subject and verb with another change; what grades and comparisons it then needs."""
    said = _STATED.search(sentence)
    assert said is not None
    subject, rest = sentence[: said.start()], sentence[said.end() :]
    graded = _FROM_TO.search(rest)
    own = _AND_GRADE.match(rest)
    grade = graded[0].split()[-1] if graded else own[1] if own else None
    tail = _AS_PRIOR.sub("", _FROM_TO.sub("", rest[own.end() :] if own else rest))
    gone = _OF_PRIOR.search(subject)
    if to != "resolved":
        subject = _OF_PRIOR.sub("", subject)
    elif not gone and (graded or own):
        subject = f"{subject.rstrip()} of the prior image "
    many = re.match(r"(?:have|are|remain)\b", said["verb"], re.IGNORECASE) is not None
    has, are = ("have", "are") if many else ("has", "is")
    told = grade is not None or gone is not None
    return f"{subject}{_verb(to, has, are, grade or 'mild', told=told)}{tail}"


def _verb(to: Change, has: str, are: str, grade: str, *, told: bool) -> str:
    """The verb; with how severe the finding was and is where the rationale tells such things."""
    if not told:
        return f"{has if to in ('improved', 'worsened', 'resolved') else are} {to}"
    low, high = (grade, _WORSE[grade]) if grade in _WORSE else (_BETTER.get(grade, "mild"), grade)
    return {
        "improved": f"{has} improved from {high} to {low}",
        "worsened": f"{has} worsened from {low} to {high}",
        "unchanged": f"{are} unchanged and {grade}, as on the prior image",
        "new": f"{are} new and {grade}, and absent on the prior image",
        "resolved": f"{has} resolved",
    }[to]


def _since_then(body: list[str], then: re.Match[str], to: Change) -> list[str] | None:
    """What is there now, and what was: the second is always rewritten, the first where its grade must differ."""
    now, others = body[-2] if len(body) > 1 else "", body[:-2]
    grade = next((g for g in GRADES if re.search(rf"\b{g}\b", now, re.IGNORECASE)), None)
    was = _LESS_OR_MORE.get(to)
    if to == "resolved":
        if (gone := denied(now)) is None:
            return None
        now, was = gone, "present"
    elif grade is not None and to in ("improved", "worsened"):
        harder = to == "improved"  # it was worse
        was = (_WORSE if harder else _BETTER).get(grade)
        if was is None:
            was, grade_now = grade, (_BETTER if harder else _WORSE)[grade]
            now = exchanged(now, grade, grade_now)
    if was is None:
        return None
    return [*others, now, capital(f"{then['it']} {then['was']} {was}{then['rest']}")]
