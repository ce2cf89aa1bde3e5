"""Questions about what a finding is like: its side and its zone, and attributes such as its pattern."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chexalign.data.questions import Draft
from chexalign.data.tasks.balance import LEFT_OUT, equal_numbers
from chexalign.data.tasks.wordings import keyed_order
from chexalign.demo.questions_basic import Asked, evidence_of
from chexalign.demo.questions_findings import (
    BOTH,
    LEFT,
    LOWER,
    RIGHT,
    UPPER,
    Chest,
    heading_of,
    side_of,
    words_of,
    zone_of,
)
from chexalign.demo.questions_words import ATTRIBUTE, SIDE, ZONE, answered, one_of, told
from chexalign.types import Evidence

# In this order: what finds no counterpart among more options may find one among fewer.
_SIDES = ((LEFT, RIGHT, BOTH), (LEFT, RIGHT))
_ZONES = ((UPPER, LOWER),)

_PATTERNS = ("patchy", "streaky", "round", "interstitial")
_OPACITIES = {"opacity", "density", "infiltrate", "airspace disease"}
_VOLUMES = {"low lung volumes": "low", "hyperinflated lungs": "increased"}
_DEVICES = {
    "catheters, indwelling": "catheter",
    "surgical instruments": "surgical material",
    "implanted medical device": "implanted device",
}
_DOMES = {"elevated diaphragm": "elevated", "flattened diaphragm": "flattened"}
_ATTRIBUTES: dict[str, tuple[tuple[str, ...], ...]] = {
    "opacity pattern": (_PATTERNS, ("patchy", "streaky", "interstitial"), ("round", "interstitial")),
    "lung volumes": (("low", "normal", "increased"), ("low", "increased")),
    "device": (tuple(_DEVICES.values()), ("catheter", "surgical material")),
    "diaphragm": (tuple(_DOMES.values()),),
}


@dataclass(frozen=True, slots=True)
class _Row:
    chest: int
    task: str
    about: str  # a finding, or the name of an attribute
    answer: str
    codes: tuple[str, ...]  # what the answer rests on


def ask_details(chests: Sequence[Chest]) -> tuple[list[Asked], Counter[str]]:
    """Location and attributes, and how many were left out for balance.

    Among the same options each is right equally often for each finding and split.
    """
    rows: defaultdict[tuple[str, str], list[_Row]] = defaultdict(list)
    for at, chest in enumerate(chests):
        for row in (*_of_findings(at, chest), *_of_chest(at, chest)):
            rows[row.task, row.about].append(row)
    asked: list[Asked] = []
    for (task, about), found in rows.items():
        sets = {"side": _SIDES, "zone": _ZONES}.get(task) or _ATTRIBUTES[about]
        asked += _balanced(chests, found, sets)
    return asked, Counter({LEFT_OUT: sum(map(len, rows.values())) - len(asked)})


def _of_findings(at: int, chest: Chest) -> Iterator[_Row]:
    for finding, codes in chest.by_finding.items():
        for task, answer in (("side", side_of(codes)), ("zone", zone_of(codes))):
            if answer is not None:
                yield _Row(at, task, finding, answer, codes)


def _of_chest(at: int, chest: Chest) -> Iterator[_Row]:
    """Attributes that all codes of the chest agree on."""
    opaque = tuple(code for code in chest.codes if heading_of(code) in _OPACITIES)
    patterns = {frozenset(words_of(code) & set(_PATTERNS)) for code in opaque}
    if len(patterns) == 1 and len(one := next(iter(patterns))) == 1:
        yield _Row(at, "attribute", "opacity pattern", next(iter(one)), opaque)
    if chest.normal:
        yield _Row(at, "attribute", "lung volumes", "normal", chest.codes)
    for about, names in (("lung volumes", _VOLUMES), ("diaphragm", _DOMES)):
        there = [finding for finding in names if finding in chest.present]
        if len(there) == 1:
            yield _Row(at, "attribute", about, names[there[0]], chest.by_finding[there[0]])
    devices = chest.by_finding.get("support device", ())
    kinds = {_DEVICES.get(heading_of(code), "another") for code in devices}
    if len(kinds) == 1 and kinds != {"another"}:
        yield _Row(at, "attribute", "device", kinds.pop(), devices)


def _balanced(chests: Sequence[Chest], rows: list[_Row], sets: Sequence[tuple[str, ...]]) -> Iterator[Asked]:
    left = rows
    for options in sets:
        kept = equal_numbers(
            [row for row in left if row.answer in options],
            name=lambda row: f"{chests[row.chest].id}/{row.task}/{row.about}",
            group=lambda row: chests[row.chest].split,
            answer=lambda row: row.answer,
            answers=options,
        )
        yield from (Asked(row.chest, _draft(chests[row.chest], row, options)) for row in kept)
        taken = {id(row) for row in kept}
        left = [row for row in left if id(row) not in taken]


def _draft(chest: Chest, row: _Row, options: tuple[str, ...]) -> Draft:
    name = f"{chest.id}/{row.task}/{row.about}"
    texts = {"side": SIDE, "zone": ZONE}.get(row.task) or ATTRIBUTE[row.about]
    of_finding = row.about in chest.by_finding
    evidence = evidence_of(chest, [row.about]) if of_finding else tuple(Evidence("code", code) for code in row.codes)
    return Draft(
        name,
        task="location" if row.task in ("side", "zone") else row.task,
        part=row.about,
        answer_type="choose",
        text=one_of(texts, name).format(finding=row.about),
        options=keyed_order(options, name),
        answers=(row.answer,),
        rationale=answered(row.answer, _reason(row, name)),
        evidence=evidence,
    )


def _reason(row: _Row, name: str) -> str:
    if row.about == "opacity pattern":
        return f"The opacity in the lung is {row.answer}."
    if row.about == "lung volumes":
        return f"The lung volumes are {row.answer}."
    if row.about == "diaphragm":
        return f"The diaphragm is {row.answer}."
    if row.about == "device":
        return f"The material that can be seen: {row.answer}."
    if row.task == "zone":
        return f"The {row.about} lies in the {row.answer} zone of the lung."
    return told(row.about, row.codes, name)
