"""What the evidence of a question says about an answer: for it, against it, or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from chexalign.data.answers import YES_NO, plain
from chexalign.data.mesh import labels_from_codes
from chexalign.data.tasks.findings import finding_name, may_both_be
from chexalign.judges.chexpert import label
from chexalign.mine.edits.changes import CHANGES, Change, asked_change, change_of
from chexalign.mine.edits.places import Side, side_named
from chexalign.mine.edits.words import is_finding, whole
from chexalign.types import Evidence, Question

_NO_FINDING = {"normal", "no finding", "no findings", "no abnormality", "unremarkable"}
_SIDES: dict[str, set[str]] = {"left": {"left"}, "right": {"right"}, "bilateral": {"left", "right"}}
_GRADES = {"mild": 0, "small": 0, "moderate": 1, "severe": 2, "large": 2}
_ABNORMAL = re.compile(r"\b(?:abnormal\w*|anything wrong|patholog\w+)\b", re.IGNORECASE)
_NORMAL = re.compile(r"\b(?:normal|unremarkable|free of abnormal\w*|no abnormal\w*|healthy)\b", re.IGNORECASE)
_PART_OF_CHEST = re.compile(
    r"\b(?:heart|cardi\w+|lungs?|lobes?|zones?|mediastin\w+|aort\w+|bones?|bony|ribs?|spine|diaphragm\w*|pleura\w*|hil\w+"
    r"|vascul\w+|trachea\w*|costophrenic|silhouette|contours?|volumes?|size)\b",
    re.IGNORECASE,
)
# What narrows a question down, so that a finding that is there does not make "no" wrong, or turns it around.
_NARROW = re.compile(
    r"\b(?:left|right|both|bilateral|upper|lower|middle|mild|moderate|severe|small|large|new|worse\w*|improved|acute"
    r"|chronic|only|more|less|than|without|no|not|free|absent|one|two|single|multiple)\b",
    re.IGNORECASE,
)


def is_verify(question: Question) -> bool:
    """Whether it is answered by yes or no."""
    return question.answer_type in ("verify", "choose") and {plain(o) for o in question.options or YES_NO} == set(
        YES_NO
    )


def asks_normal(question: Question) -> bool | None:
    """Whether a question with yes or no asks if all is normal (True) or if something is not (False)."""
    if is_finding(question.part) or not is_verify(question):
        return None
    if _NORMAL.search(question.text):
        return True
    return False if _ABNORMAL.search(question.text) else None


def findings_of(code: str) -> frozenset[str]:
    """The findings of CheXpert that a code states, as questions call them."""
    return frozenset(map(finding_name, labels_from_codes([code])))


def says_normal(evidence: Iterable[Evidence]) -> bool:
    """Whether a code or a label says that nothing is found."""
    return any(e.present and e.kind in ("code", "label") and plain(e.text) in _NO_FINDING for e in evidence)


def state_of(question: Question, name: str) -> bool | None:
    """Whether the evidence says that a finding, or an answer by its words, is there; None where it says neither.

    What is on the image as a whole says nothing of a place that is asked about, and nothing of a change.
    """
    name = plain(name)
    if question.kind == "compare":
        return None
    labels = {e.present for e in question.evidence if e.kind == "label" and name in _words_of(e)}
    if question.kind == "region":
        labels.discard(True)
    there = _in_boxes(question, name) or any(
        e.present and (plain(e.text) == name or name in findings_of(e.text))
        for e in question.evidence
        if e.kind == "code"
    )
    if there:
        return True if False not in labels else None
    return labels.pop() if len(labels) == 1 else None


def contradicts(question: Question) -> bool:
    """Whether the evidence says that the right answer is wrong."""
    if is_verify(question):
        return _contradicts_yes_no(question, plain(question.answers[0]) == YES_NO[0])
    if question.kind == "compare":
        return _contradicts_change(question)
    if any(state_of(question, answer) is False for answer in question.answers):
        return True
    if question.kind == "basic" and len(question.answers) == 1:
        side, grade = side_named(question.answers[0]), _GRADES.get(plain(question.answers[0]))
        sides, grades = _sides(question), _grades(question.evidence)
        if side is not None and sides:
            return not ({"left", "right"} if side == "both" else {side}) <= sides
        return grade is not None and bool(grades) and grade not in grades
    return False


def supports(question: Question, answers: Sequence[str], text: str, chosen: str) -> bool:
    """Whether the evidence says that another answer, or a finding that only its text states, is right as well."""
    added = [a for a in answers if plain(a) not in {plain(right) for right in question.answers}]
    if not is_verify(question) and any(_is_right_too(question, answer) for answer in added):
        return True
    if question.kind != "basic" or not is_verify(question):
        return False
    return any(state_of(question, finding) for finding in _stated(text) - _stated(chosen))


def course_of(question: Question) -> Change | None:
    """What became of the asked finding, by its codes on the current image (0) and the prior one (1)."""
    if question.kind != "compare" or not (finding := _asked_finding(question)):
        return None
    return _course(question, finding)


def _contradicts_yes_no(question: Question, yes: bool) -> bool:
    if question.kind == "compare":
        change, truth = asked_change(question), course_of(question)
        return change is not None and truth is not None and yes != (change == truth)
    normal = asks_normal(question)
    if normal is not None:
        ill = any(e.present and e.kind in ("label", "box") and is_finding(e.text) for e in question.evidence)
        if question.kind != "basic" or _PART_OF_CHEST.search(question.text):
            return False
        return ill if yes == normal else says_normal(question.evidence) and not ill
    asked = _asked_finding(question)
    state = state_of(question, asked) if asked else None
    turned = re.search(r"\b(?:no|not|without|free of|absent|absence)\b", question.text, re.IGNORECASE)
    if state is None or turned or not asked:
        return False
    narrowed = _NARROW.search(whole([asked]).sub(" ", question.text)) or question.kind == "region"
    return not state if yes else state and not narrowed


def _contradicts_change(question: Question) -> bool:
    told = change_of(question.answers[0]) if len(question.answers) == 1 else None
    if told is not None:
        truth = course_of(question)
        return truth is not None and truth != told
    asked = asked_change(question)
    courses = [_course(question, plain(answer)) for answer in question.answers]
    return asked is not None and any(course is not None and course != asked for course in courses)


def _is_right_too(question: Question, answer: str) -> bool:
    change = change_of(answer)
    if question.kind == "compare":
        if change is not None:
            return course_of(question) == change
        return asked_change(question) is not None and _course(question, plain(answer)) == asked_change(question)
    state = state_of(question, answer)
    if state is not None:
        return state
    there = {plain(e.text) for e in question.evidence if e.present and e.kind == "label"}
    named = {finding for finding in there | {plain(a) for a in question.answers} if is_finding(finding)}
    if question.kind == "region":
        named &= {plain(a) for a in question.answers}
    if is_finding(answer) and not question.options:
        return any(may_both_be(plain(answer), finding) for finding in named)
    side = side_named(answer)
    return side is not None and question.kind == "basic" and _sides(question) == _as_set(side)


def _words_of(evidence: Evidence) -> set[str]:
    """A label is a finding, or a finding and its place with a slash between."""
    return {plain(evidence.text), *map(plain, evidence.text.split("/"))}


def _in_boxes(question: Question, name: str) -> bool:
    """Whether a box is labeled so; on a question about a region, one that the first box touches."""
    boxes = [e for e in question.evidence if e.kind == "box" and e.present]
    return any(plain(e.text) == name and (question.kind != "region" or _touch(boxes[0], e)) for e in boxes)


def _touch(a: Evidence, b: Evidence) -> bool:
    return (a.image or 0) == (b.image or 0) and all(
        max(a.box[i], b.box[i]) < min(a.box[i + 2], b.box[i + 2]) for i in (0, 1)
    )


def _asked_finding(question: Question) -> str | None:
    """The one finding of the evidence that the question names; with its place, where the label has one."""
    found: dict[str, None] = {}
    for evidence in question.evidence:
        parts = [plain(part) for part in evidence.text.split("/")] if evidence.kind == "label" else []
        if parts and all(part and whole([part]).search(question.text) for part in parts):
            found[plain(evidence.text)] = None
    return next(iter(found)) if len(found) == 1 else None


def _course(question: Question, finding: str) -> Change | None:
    """None unless codes are told image by image, and one of them states the finding."""
    now, then = (
        [e for e in question.evidence if e.kind == "code" and e.present and e.image == image] for image in (0, 1)
    )
    is_, was = ([e for e in codes if finding in findings_of(e.text)] for codes in (now, then))
    if not is_ or not was:
        return CHANGES[3] if is_ else CHANGES[4] if was else None
    before, after = _grades(was), _grades(is_)
    if len(before) != 1 or len(after) != 1:
        return None
    (b,), (a,) = before, after
    return "unchanged" if a == b else "improved" if a < b else "worsened"


def _grades(evidence: Iterable[Evidence]) -> set[int]:
    words = [plain(word) for e in evidence if e.kind == "code" and e.present for word in e.text.split("/")[1:]]
    return {_GRADES[word] for word in words if word in _GRADES}


def _sides(question: Question) -> set[str]:
    codes = [e for e in question.evidence if e.kind == "code" and e.present]
    return {side for e in codes for word in e.text.split("/")[1:] for side in _SIDES.get(plain(word), ())}


def _as_set(side: Side) -> set[str]:
    return {"left", "right"} if side == "both" else {side}


def _stated(text: str) -> frozenset[str]:
    return frozenset(finding_name(name) for name, value in label(text).items() if value == 1 and name != "No Finding")
