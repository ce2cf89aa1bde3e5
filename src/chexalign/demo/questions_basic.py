"""Questions about one phantom as a whole: which findings are there, whether any is, and which view it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from chexalign import ids
from chexalign.data.questions import Draft
from chexalign.data.tasks import wordings
from chexalign.data.tasks.balance import LEFT_OUT, Case, Drawn, equal_numbers, one_right_each, opposites
from chexalign.data.tasks.wordings import NO, YES
from chexalign.demo.questions_findings import FINDINGS, Chest
from chexalign.demo.questions_words import ABNORMAL, NORMAL, answered, denied, listed, one_of, told
from chexalign.types import Evidence

FRONTAL: Literal["frontal"] = "frontal"
LATERAL: Literal["lateral"] = "lateral"


@dataclass(frozen=True, slots=True)
class Asked:
    """A draft about one chest, with the view that it is shown in."""

    chest: int  # its place among the chests
    draft: Draft
    view: Literal["frontal", "lateral"] = FRONTAL
    codes: tuple[str, ...] | None = None  # what is drawn, where it is not what the report has


@dataclass(frozen=True, slots=True)
class _Row:
    chest: int
    about: str
    answer: str


def ask_basic(chests: Sequence[Chest]) -> tuple[list[Asked], Counter[str]]:
    """Presence, abnormality, findings and view, and how many were left out for balance.

    Each answer is right equally often for each text of a question and split, up to which wording it got.
    """
    asked: list[Asked] = []
    dropped = Counter[str]()
    possible = [row for at, chest in enumerate(chests) for row in _presences(at, chest)]
    presences = _balanced(chests, possible)
    asked += [Asked(row.chest, _presence(chests[row.chest], row)) for row in presences]
    states = [_Row(at, _polarity(c), _state(c)) for at, c in enumerate(chests) if c.normal or c.present]
    kept = _balanced(chests, states)
    asked += [Asked(row.chest, _abnormality(chests[row.chest], row)) for row in kept]
    dropped[LEFT_OUT] += len(possible) - len(presences) + len(states) - len(kept)
    asked += _findings(chests, dropped)
    asked += _views(chests)
    return asked, dropped


def evidence_of(chest: Chest, findings: Sequence[str]) -> tuple[Evidence, ...]:
    """Which of the findings are there, and the codes that say so."""
    labels = [Evidence("label", finding, present=finding in chest.present) for finding in findings]
    codes = dict.fromkeys(code for finding in findings for code in chest.by_finding.get(finding, ()))
    return (*labels, *(Evidence("code", code) for code in codes))


def _presences(at: int, chest: Chest) -> Iterator[_Row]:
    """What can be asked; of a healthy chest a single finding, or most answers "no" were about health."""
    absent = [finding for finding in FINDINGS if finding in chest.absent]
    if absent and not chest.present:
        absent = [absent[ids.keyed_seed("healthy", chest.id) % len(absent)]]
    yield from (_Row(at, finding, YES) for finding in FINDINGS if finding in chest.present)
    yield from (_Row(at, finding, NO) for finding in absent)


def _balanced(chests: Sequence[Chest], rows: Sequence[_Row]) -> list[_Row]:
    return equal_numbers(
        rows,
        name=lambda row: f"{chests[row.chest].id}/{row.about}",
        group=lambda row: (chests[row.chest].split, row.about),
        answer=lambda row: row.answer,
        answers=(YES, NO),
    )


def _presence(chest: Chest, row: _Row) -> Draft:
    name, finding = f"{chest.id}/{row.about}", row.about
    draft = wordings.presence(
        name, finding, present=row.answer == YES, evidence=evidence_of(chest, [finding]), boxes=()
    )
    reason = told(finding, chest.by_finding[finding], name) if row.answer == YES else denied(finding, name)
    return replace(draft, rationale=answered(row.answer, reason))


def _polarity(chest: Chest) -> str:
    return "normal" if ids.keyed_seed("polarity", chest.id) % 2 else "abnormal"


def _state(chest: Chest) -> str:
    return YES if chest.normal == (_polarity(chest) == "normal") else NO


def _abnormality(chest: Chest, row: _Row) -> Draft:
    """Whether the chest is normal, or whether it is not; the reason of an abnormal one is its first finding."""
    name = f"{chest.id}/{row.about}"
    findings = keyed(sorted(chest.present), name)[:1]
    reason = told(findings[0], chest.by_finding[findings[0]], name) if findings else "No abnormal finding is seen."
    return Draft(
        name,
        task="abnormality",
        part=row.about,
        answer_type="verify",
        text=one_of(NORMAL if row.about == "normal" else ABNORMAL, name),
        options=(YES, NO),
        answers=(row.answer,),
        rationale=answered(row.answer, reason),
        evidence=evidence_of(chest, findings) if findings else tuple(Evidence("code", code) for code in chest.codes),
    )


def _findings(chests: Sequence[Chest], dropped: Counter[str]) -> Iterator[Asked]:
    """Which one of four findings is there, and which ones are."""
    cases = [Case(c.id, c.split, c.present, c.absent) for c in chests]
    single, several = one_right_each(cases, FINDINGS), opposites(cases, FINDINGS)
    dropped[LEFT_OUT] += 2 * sum(bool(c.present) for c in chests) - len(single) - len(several)
    yield from (Asked(drawn.case, _single(chests[drawn.case], drawn)) for drawn in single)
    yield from (Asked(drawn.case, _several(chests[drawn.case], drawn)) for drawn in several)


def _single(chest: Chest, drawn: Drawn) -> Draft:
    (right,) = drawn.right
    draft = wordings.single_finding(chest.id, drawn.options, right, evidence=evidence_of(chest, drawn.options))
    return replace(draft, rationale=answered(right, told(right, chest.by_finding[right], chest.id)))


def _several(chest: Chest, drawn: Drawn) -> Draft:
    evidence = evidence_of(chest, drawn.options)
    draft = wordings.several_findings(chest.id, drawn.options, drawn.right, evidence=evidence)
    return replace(draft, rationale=listed(draft.answers))


def _views(chests: Sequence[Chest]) -> Iterator[Asked]:
    """One view of each chest: of two that follow each other in keyed order within a split, one is frontal."""
    order = sorted(range(len(chests)), key=lambda at: (chests[at].split, ids.digest("view", chests[at].id)))
    for a, b in zip(order[::2], order[1::2], strict=False):
        if chests[a].split == chests[b].split:
            yield _view(a, chests[a], FRONTAL)
            yield _view(b, chests[b], LATERAL)


def _view(at: int, chest: Chest, right: Literal["frontal", "lateral"]) -> Asked:
    draft = wordings.view(f"{chest.id}/view", (FRONTAL, LATERAL), right)
    return Asked(at, replace(draft, rationale=answered(right, f"This is a {right} view of the chest.")), right)


def keyed(names: Sequence[str], key: str) -> list[str]:
    """The names in an order that depends on them and the key alone."""
    return sorted(names, key=lambda name: ids.digest("keyed", key, name))
