"""Questions about a place on a phantom that a box, an arrow or an outline marks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from chexalign import ids
from chexalign.data.marks import MARKS, Mark
from chexalign.data.questions import Draft
from chexalign.data.tasks.balance import LEFT_OUT, Case, in_groups, one_right_each
from chexalign.data.tasks.findings import may_both_be
from chexalign.data.tasks.wordings import NO, YES, keyed_order
from chexalign.demo.questions_findings import BOTH, LEFT, RIGHT, Chest, findings_of, grade_of, heading_of, side_of
from chexalign.demo.questions_words import (
    REGION_ABNORMAL,
    REGION_FINDING,
    REGION_OPEN,
    REGION_PRESENCE,
    answered,
    denied,
    listed,
    one_of,
    place_of,
    said,
    where,
)
from chexalign.types import Evidence

# Headings that the phantom draws in one place, or in one on each side, a third of the image at most.
_LOCAL = frozenset(
    (
        *(
            "opacity",
            "density",
            "airspace disease",
            "infiltrate",
            "consolidation",
            "pneumonia",
            "pulmonary atelectasis",
        ),
        *("cicatrix", "nodule", "mass", "calcified granuloma", "granuloma", "calcinosis", "atherosclerosis"),
        *("pleural effusion", "costophrenic angle", "sulcus", "thickening", "pneumothorax", "hydropneumothorax"),
        *("cardiomegaly", "cardiac shadow", "aorta", "aorta, thoracic", "mediastinum", "hernia, hiatal"),
        *("fractures, bone", "deformity", "surgical instruments", "sutures", "spinal fusion", "stents"),
        *("catheters, indwelling", "tube, inserted", "implanted medical device", "breast implants"),
    )
)
_LOOKS = 40  # regions that are looked at for one that could be on a chest and is not
_MOST = 0.25  # of the answers in free words, that one finding is


@dataclass(frozen=True, slots=True)
class Region:
    """A place on a chest where a code is drawn, or would be if the chest had it."""

    chest: int
    code: str
    finding: str
    there: bool
    beside: str = ""  # another code, which is drawn elsewhere or would be
    beside_is_there: bool = True  # whether the chest has that other code

    def mark(self, chest: Chest) -> Mark:
        """The mark that points at it."""
        return MARKS[ids.keyed_seed("mark", chest.id, self.code) % len(MARKS)]


Marked = tuple[Region, list[Draft]]


def ask_regions(chests: Sequence[Chest]) -> tuple[list[Marked], Counter[str]]:
    """Regions with their questions, and how many regions were left out for balance.

    Which of four findings is in a place, whether a named one is, whether any is, and what it is called. Each option is
    right equally often. Of four places with the same options each finding is asked about where it is and where it is
    not, and of two places on one chest each finding is asked about in its own place and in the other one. A place
    without a finding is where the finding of another patient of the split would be drawn.
    """
    regions = [region for at, chest in enumerate(chests) for region in _regions(at, chest)]
    cases = [_case(chests[region.chest], region) for region in regions]
    drawn = one_right_each(cases, sorted({region.finding for region in regions}), in_a_box=True)
    drafts: defaultdict[Region, list[Draft]] = defaultdict(list)
    for group in in_groups(drawn):
        for at, case in enumerate(group):
            region = regions[case.case]
            wrong = group[(at + 1) % len(group)].right[0]
            chest = chests[region.chest]
            drafts[region] += [
                _which(chest, region, case.options),
                _whether(chest, region, region.finding, YES),
                _whether(chest, region, wrong, NO),
            ]
    found, left_out = list(drafts), len(regions) - len(drafts)
    for region in _capped(found, chests):
        drafts[region].append(_name(chests[region.chest], region))
    for one, other in _pairs(regions, chests):
        chest = chests[one.chest]
        drafts[one] += [_whether(chest, one, one.finding, YES), _whether(chest, one, other.finding, NO)]
    for region, empty in _empty_ones(found, chests):
        drafts[region].append(_any(chests[region.chest], region))
        drafts[empty].append(_any(chests[empty.chest], empty))
    return list(drafts.items()), Counter({LEFT_OUT: left_out})


def _regions(at: int, chest: Chest) -> Iterator[Region]:
    """One for each code that is drawn in a place, says one finding, and whose finding no other code says."""
    for code in dict.fromkeys(chest.codes):
        found = findings_of(code)
        specific = [finding for finding in found if finding != "lung lesion"] or list(found)
        if heading_of(code) in _LOCAL and len(specific) == 1 and chest.by_finding[specific[0]] == (code,):
            yield Region(at, code, specific[0], there=True)


def _pairs(regions: Sequence[Region], chests: Sequence[Chest]) -> Iterator[tuple[Region, Region]]:
    """The first two regions of each chest whose findings say nothing of each other, each with the other one."""
    by_chest: defaultdict[int, list[Region]] = defaultdict(list)
    for region in regions:
        by_chest[region.chest].append(region)
    for of_it in by_chest.values():
        order = sorted(of_it, key=lambda region: ids.digest("pair", chests[region.chest].id, region.code))
        for one, other in combinations(order, 2):
            if not may_both_be(one.finding, other.finding, in_a_box=True):
                yield replace(one, beside=other.code), other
                yield replace(other, beside=one.code), one
                break


def _case(chest: Chest, region: Region) -> Case:
    return Case(f"{chest.id}/{region.code}", chest.split, frozenset({region.finding}), chest.absent)


def _capped(regions: Sequence[Region], chests: Sequence[Chest]) -> Iterator[Region]:
    """Some of the regions of each split, so that none of the findings is more than a share of the answers."""
    found: defaultdict[str, defaultdict[str, list[Region]]] = defaultdict(lambda: defaultdict(list))
    for region in regions:
        found[chests[region.chest].split][region.finding].append(region)
    for of_split in found.values():
        sizes = sorted(map(len, of_split.values()))
        cap = next((c for c in range(sizes[-1], 0, -1) if c <= _MOST * sum(min(n, c) for n in sizes)), 0)
        for same in of_split.values():
            yield from sorted(same, key=lambda r: ids.digest("open", chests[r.chest].id, r.code))[:cap]


def _empty_ones(regions: Sequence[Region], chests: Sequence[Chest]) -> Iterator[tuple[Region, Region]]:
    """Regions with a finding, each with a place on the same chest where another chest's finding would be drawn.

    Both are on one image, so that a look at the whole of it is no help; and places are as often aside, so that where
    the mark is is none either.
    """
    pools: defaultdict[str, list[Region]] = defaultdict(list)
    for region in regions:
        pools[chests[region.chest].split].append(region)
    for region in regions:
        chest = chests[region.chest]
        pool, start = pools[chest.split], ids.keyed_seed("empty", chest.id, region.code)
        looked_at = [pool[(start + i) % len(pool)] for i in range(min(_LOOKS, len(pool)))]
        absent = [other for other in looked_at if other.finding in chest.absent]
        elsewhere = [other for other in absent if _fits(other.code, region.code, chest)]
        for other in (elsewhere or absent)[:1]:
            yield (
                replace(region, beside=other.code, beside_is_there=False),
                Region(region.chest, other.code, other.finding, there=False, beside=region.code),
            )


def _fits(other: str, code: str, chest: Chest) -> bool:
    """Whether another code is on a side on which the chest shows nothing; or in the middle, where the own code is."""
    side, own = side_of([other]), side_of([code])
    if own not in (LEFT, RIGHT):
        return side == own
    return side in (LEFT, RIGHT) and side not in {side_of([of_it]) for of_it in chest.codes}


def _which(chest: Chest, region: Region, options: tuple[str, ...]) -> Draft:
    name = f"{chest.id}/{region.code}/which"
    reason = answered(region.finding, _told(chest, region, name))
    return _choice(chest, region, name, "finding", REGION_FINDING, keyed_order(options, name), region.finding, reason)


def _whether(chest: Chest, region: Region, finding: str, answer: str) -> Draft:
    name = f"{chest.id}/{region.code}/{finding}{'/' + region.beside if region.beside else ''}"
    wordings = [wording.replace("{finding}", finding) for wording in REGION_PRESENCE]
    reason = _told(chest, region, name) if answer == YES else denied(finding, name, _place(chest, region))
    draft = _choice(
        chest,
        region,
        name,
        "place" if region.beside else "presence",
        wordings,
        (YES, NO),
        answer,
        answered(answer, reason),
    )
    if answer == YES:
        return draft
    other = Evidence("code", region.beside) if region.beside else Evidence("label", finding, present=False)
    return replace(draft, evidence=(*draft.evidence, other))


def _any(chest: Chest, region: Region) -> Draft:
    name = f"{chest.id}/{region.code}/{'any' if region.there else 'none'}/{region.beside}"
    reason = _told(chest, region, name) if region.there else denied("abnormality", name, _place(chest, region))
    answer = YES if region.there else NO
    return _choice(chest, region, name, "abnormality", REGION_ABNORMAL, (YES, NO), answer, answered(answer, reason))


def _name(chest: Chest, region: Region) -> Draft:
    name = f"{chest.id}/{region.code}/name"
    return _choice(chest, region, name, "name", REGION_OPEN, (), region.finding, listed([region.finding]))


def _choice(
    chest: Chest,
    region: Region,
    name: str,
    part: str,
    wordings: Sequence[str],
    options: tuple[str, ...],
    answer: str,
    rationale: str,
) -> Draft:
    return Draft(
        name,
        task="region",
        part=part,
        answer_type="verify" if options == (YES, NO) else "choose" if options else "open",
        text=one_of(wordings, name).format(place=_place(chest, region)),
        options=options,
        answers=(answer,),
        kind="region",
        rationale=rationale,
        evidence=(Evidence("code", region.code, present=region.there),),
    )


def _place(chest: Chest, region: Region) -> str:
    return place_of(region.mark(chest))


def _told(chest: Chest, region: Region, name: str) -> str:
    """A mark is on one of the sides of a bilateral finding."""
    place = "" if side_of([region.code]) == BOTH else where([region.code])
    return said(region.finding, grade_of([region.code]), f"{place} {_place(chest, region)}".strip(), name)
