"""The contrary of a yes or a no: the sentence that it rests on is denied, stated, or says something else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chexalign import ids
from chexalign.data.answers import YES_NO, plain
from chexalign.data.tasks.findings import finding_name, may_both_be
from chexalign.mine.edits.answer import Slots, replaced_answer
from chexalign.mine.edits.changes import CHANGES, asked_change, stated_change, with_change
from chexalign.mine.edits.evidence import asks_normal, findings_of, says_normal
from chexalign.mine.edits.negation import affirmed, flipped, flips
from chexalign.mine.edits.others import Others
from chexalign.mine.edits.places import on_side, side_named, without_place
from chexalign.mine.edits.words import FINDINGS, GROUPS, exchanged, exchanged_findings, is_finding, whole
from chexalign.mine.records import Edit, EditKind
from chexalign.types import Question

_NOBODY = ("abnormality", "abnormal finding", "abnormalities", "abnormal findings")

Body = list[str]


def contrary(question: Question, others: Others, key: Sequence[object]) -> Iterator[Edit]:
    """Edits with the other answer, those that suit the question best first.

    `others` tells how that answer to the same question is worded where it is right.
    """
    right = question.answers[0]
    wrong = next((o for o in question.options or YES_NO if plain(o) != plain(right)), "")
    if not wrong:
        return
    if question.rationale is None:
        yield Edit(replaced_answer(question, wrong), "negation", (wrong,), "rules")
        return
    slots = Slots.of(question.rationale, right, question.options or YES_NO)
    yes = plain(right) == YES_NO[0]
    if not slots.body:
        yield Edit(slots.written(wrong, []), "negation", (wrong,), "rules")
    worded = [list(other) for other in others.worded(question, wrong, tuple(slots.body), *key)] if slots.body else []
    for kind, body in _bodies(question, slots.body, yes, worded, key):
        yield Edit(slots.written(wrong, body), kind, (wrong,), "rules")


def _bodies(
    question: Question, body: Body, yes: bool, worded: Sequence[Body], key: Sequence[object]
) -> Iterator[tuple[EditKind, Body]]:
    courses = list(_other_course(question, body, yes, key))
    yield from (("change", other) for other in courses)
    if courses:  # to deny what is there, or what was, would leave open what has changed
        return
    if not any(True for _ in _other_words(question, body, yes, key)):
        yield from (("negation", other) for other in worded)
    if asks_normal(question) is not None:
        yield from _other_state(question, body, key)
    yield from _other_words(question, body, yes, key)
    order = sorted(range(len(body)), key=lambda i: (not _about(question, body[i]), i))
    for i in order:
        yield from (("negation", _put(body, i, turned)) for turned in flips(body[i]))


def _other_course(question: Question, body: Body, yes: bool, key: Sequence[object]) -> Iterator[Body]:
    """Where a change is asked about: for a no the asked one, for a yes each of the others in a keyed order."""
    asked, stated = asked_change(question), stated_change(body)
    if asked is None or stated is None or (asked == stated) != yes:
        return
    others = sorted((c for c in CHANGES if c != stated), key=lambda c: ids.keyed_seed(*key, c)) if yes else [asked]
    for change in others:
        if (other := with_change(body, change)) is not None:
            yield other


def _other_state(question: Question, body: Body, key: Sequence[object]) -> Iterator[tuple[EditKind, Body]]:
    """Where it is asked whether anything is abnormal: nothing at all in the place of a finding, or a finding."""
    for i, sentence in enumerate(body):
        affirming = affirmed(sentence)
        if affirming is not None:
            general = next((name for name in _NOBODY if name in affirming.lower()), None)
            for finding in _absent(question, key)[:4] if general else ():
                yield "negation", _put(body, i, exchanged_findings(affirming, str(general), finding))
        elif (finding_ := _finding_in(sentence)) is not None:
            for text in (without_place(sentence), sentence):
                nothing = flipped(exchanged_findings(text, finding_, "abnormality"))
                if nothing is not None:
                    yield "negation", _put(body, i, nothing)


def _absent(question: Question, key: Sequence[object]) -> list[str]:
    """Findings that the evidence rules out: labels and codes that are not there, or any where all is normal."""
    ruled_out = [e for e in question.evidence if not e.present]
    named = [e.text for e in ruled_out if e.kind == "label" and is_finding(e.text)]
    coded = [f for e in ruled_out if e.kind == "code" for f in sorted(findings_of(e.text))]
    there = [plain(e.text) for e in question.evidence if e.present and e.kind == "label"]
    there += [finding_name(f) for e in question.evidence if e.present for f in sorted(findings_of(e.text))]
    usual = FINDINGS if says_normal(question.evidence) and not there else ()
    found = dict.fromkeys([*named, *coded, *sorted(usual, key=lambda f: ids.keyed_seed(*key, f))])
    return [finding for finding in found if not any(may_both_be(plain(finding), other) for other in there)]


def _finding_in(sentence: str) -> str | None:
    """The longest finding of the list that a sentence names."""
    named = [f for f in FINDINGS if whole([f]).search(sentence)]
    return max(named, key=len) if named else None


def _other_words(question: Question, body: Body, yes: bool, key: Sequence[object]) -> Iterator[tuple[EditKind, Body]]:
    """Where a side, a grade or a place is asked about: the asked word for a no, another one for a yes."""
    for kind, group in GROUPS:
        asked = [word for word in group if whole([word]).search(question.text)]
        for i, sentence in enumerate(body):
            said = [word for word in group if whole([word]).search(sentence)]
            if len(asked) != 1 or len(said) != 1 or (asked == said) != yes:
                continue
            others = sorted((w for w in group if w != said[0]), key=lambda w: ids.keyed_seed(*key, w))
            for other in others if yes else asked:
                side = side_named(other) if kind == "side" else None
                changed = on_side(sentence, side) if side else exchanged(sentence, said[0], other)
                if changed != sentence:
                    yield kind, _put(body, i, changed)


def _about(question: Question, sentence: str) -> bool:
    """Whether a sentence names what the question asks about."""
    names = [question.part, *(e.text.split("/")[0] for e in question.evidence if e.kind == "label")]
    asked = [name for name in names if name.strip() and whole([name]).search(question.text)]
    return any(whole([name]).search(sentence) for name in asked)


def _put(body: Body, i: int, sentence: str) -> Body:
    return [*body[:i], sentence, *body[i + 1 :]]
