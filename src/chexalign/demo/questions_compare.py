"""Questions about what has changed between two phantoms of one made-up patient.

Every patient of the collection lends anatomy and codes; one finding, or several, is then added to the current image, to
the prior one or to both, mild or severe. So each kind of change is as frequent as the others for each finding, and the
current image alone does not tell which it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from chexalign import ids
from chexalign.data.questions import Draft
from chexalign.data.tasks.findings import may_both_be
from chexalign.data.tasks.wordings import NO, YES, keyed_order
from chexalign.demo.questions_basic import keyed
from chexalign.demo.questions_findings import MILD, SEVERE, Chest, absent_beside, findings_of, graded
from chexalign.demo.questions_words import (
    CHANGE,
    CHANGE_OPEN,
    CHANGE_VERIFY,
    NEW_ONES,
    answered,
    listed,
    one_of,
    said,
    where,
)
from chexalign.types import Evidence

CHANGES = ("improved", "worsened", "unchanged", "new", "resolved")
# What the phantom draws mild or severe, in a place of its own.
CHANGING = (
    *("cardiomegaly", "lung opacity", "edema", "consolidation", "pneumonia", "atelectasis", "pneumothorax"),
    "pleural effusion",
)
# What comes or goes besides in half of the pairs, so that equal images are not the sign of an unchanged finding.
_BESIDE = ("Catheters, Indwelling/right", "Implanted Medical Device/left", "Surgical Instruments/mediastinum")
_DEVICE = "support device"
_N_SEVERAL = 4
_PERIOD = 40  # after so many pairs of a finding the kinds of change, asked about and true, come again


@dataclass(frozen=True, slots=True)
class Change:
    """Two lists of codes of one made-up patient, with the questions about the difference."""

    chest: int
    prior: tuple[str, ...]
    current: tuple[str, ...]
    drafts: tuple[Draft, ...]


def ask_changes(chests: Sequence[Chest]) -> list[Change]:
    """One pair of images per chest about a single finding, and one per second chest about four.

    For each finding and split the five kinds of change come in turn, and so do right and wrong ones in the questions
    with yes or no. Of four findings each is new in one of two pairs that follow each other, and not in the other.
    """
    pools = _code_pools(chests)
    return [*_single_changes(chests, pools), *_several_changes(chests, pools)]


def _code_pools(chests: Sequence[Chest]) -> dict[str, tuple[str, ...]]:
    """The codes of each finding that the collection has; they say that finding alone."""
    pools: dict[str, dict[str, None]] = {finding: {} for finding in CHANGING}
    for chest in chests:
        for code in chest.codes:
            for finding in findings_of(code):
                if finding in pools and findings_of(code) == (finding,):
                    pools[finding][graded(code, MILD)] = None
    return {finding: tuple(sorted(codes)) for finding, codes in pools.items() if codes}


def _single_changes(chests: Sequence[Chest], pools: dict[str, tuple[str, ...]]) -> Iterator[Change]:
    ranks: defaultdict[tuple[str, str], int] = defaultdict(int)
    for at in sorted(range(len(chests)), key=lambda at: ids.digest("change", chests[at].id)):
        chest = chests[at]
        possible = [finding for finding in pools if finding in chest.absent]
        # The finding that was asked about the least so far in this split.
        order = sorted(keyed(possible, chest.id), key=lambda finding: ranks[chest.split, finding])
        for finding in order[:1]:
            rank = ranks[chest.split, finding] + ids.keyed_seed("rank", chest.split, finding) % _PERIOD
            ranks[chest.split, finding] += 1
            yield _single_change(at, chest, finding, _pick(pools[finding], chest.id), rank)


def _single_change(at: int, chest: Chest, finding: str, code: str, rank: int) -> Change:
    """A pair whose kind of change, and that which is asked about, follow from the rank alone."""
    truth = CHANGES[rank % 5]
    asked = truth if (rank % 5 + rank // 5) % 2 == 0 else CHANGES[(rank + 1 + rank // 10 % 4) % 5]
    before, after = _grades(truth, severe=ids.keyed_seed("unchanged", chest.id) % 2 == 1)
    prior = (*chest.codes, *([graded(code, before)] if before else []))
    current = (*chest.codes, *([graded(code, after)] if after else []))
    beside = ids.keyed_seed("beside", chest.id) % 4
    if beside < 2 and _DEVICE in chest.absent and finding in absent_beside((*chest.codes, *_BESIDE)):
        device = _pick(_BESIDE, chest.id)
        prior, current = ((*prior, device), current) if beside else (prior, (*current, device))
    evidence = _evidence(finding, code, before, after)
    reason = _reason(truth, finding, code, before, after, chest.id)
    drafts = [_how(chest, finding, truth, reason, evidence), _whether(chest, finding, truth, asked, reason, evidence)]
    if truth in CHANGE_OPEN and beside >= 2:
        drafts.append(_name(chest, finding, truth, evidence))
    return Change(at, prior, current, tuple(drafts))


def _grades(truth: str, *, severe: bool) -> tuple[str | None, str | None]:
    """How severe the finding is before and after; where it is there once or unchanged, `severe` decides."""
    one = SEVERE if severe else MILD
    return {
        "improved": (SEVERE, MILD),
        "worsened": (MILD, SEVERE),
        "unchanged": (one, one),
        "new": (None, one),
        "resolved": (one, None),
    }[truth]


def _evidence(finding: str, code: str, before: str | None, after: str | None) -> tuple[Evidence, ...]:
    """The finding as it is now, and the codes of both images: 0 is the current one, 1 the prior one."""
    codes = [Evidence("code", graded(code, grade), image=i) for i, grade in ((0, after), (1, before)) if grade]
    return (Evidence("label", finding, present=after is not None), *codes)


def _reason(truth: str, finding: str, code: str, before: str | None, after: str | None, name: str) -> str:
    place = where([code])
    if truth == "new":
        return f"{said(finding, after, place, name)} It was absent on the prior image."
    if truth == "resolved":
        return f"The {finding} of the prior image has resolved."
    if truth == "unchanged":
        return f"The {finding} is unchanged and {after}, as on the prior image."
    return f"The {finding} has {truth} from {before} to {after}."


def _how(chest: Chest, finding: str, truth: str, reason: str, evidence: tuple[Evidence, ...]) -> Draft:
    name = f"{chest.id}/{finding}/how"
    draft = _draft(name, "change", one_of(CHANGE, name).format(finding=finding), truth, evidence)
    return replace(draft, answer_type="choose", options=keyed_order(CHANGES, name), rationale=answered(truth, reason))


def _whether(chest: Chest, finding: str, truth: str, asked: str, reason: str, evidence: tuple[Evidence, ...]) -> Draft:
    name = f"{chest.id}/{finding}/whether"
    answer = YES if asked == truth else NO
    text = one_of(CHANGE_VERIFY[asked], name).format(finding=finding)
    draft = _draft(name, asked, text, answer, evidence)
    return replace(draft, answer_type="verify", options=(YES, NO), rationale=answered(answer, reason))


def _name(chest: Chest, finding: str, truth: str, evidence: tuple[Evidence, ...]) -> Draft:
    name = f"{chest.id}/{finding}/name"
    draft = _draft(name, "name", one_of(CHANGE_OPEN[truth], name), finding, evidence)
    return replace(draft, rationale=listed([finding]))


def _several_changes(chests: Sequence[Chest], pools: dict[str, tuple[str, ...]]) -> Iterator[Change]:
    """Pairs of chests with the same four findings; those that are new in one are not new in the other."""
    fours = [four for four in combinations(sorted(pools), _N_SEVERAL) if _all_apart(four)]
    waiting: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
    order = sorted(range(len(chests)), key=lambda at: ids.digest("several", chests[at].id))
    for at in order[: len(order) // 2]:
        chest = chests[at]
        possible = [four for four in fours if set(four) <= chest.absent]
        if not possible:
            continue
        before = [four for four in possible if (chest.split, four) in waiting]
        four = before[0] if before else possible[ids.keyed_seed("four", chest.id) % len(possible)]
        other = waiting.pop((chest.split, four), None)
        size = 1 + ids.keyed_seed("new", chest.id) % (_N_SEVERAL - 1)
        new = tuple(keyed(four, chest.id)[:size]) if other is None else tuple(f for f in four if f not in other)
        if other is None:
            waiting[chest.split, four] = new
        yield _several_change(at, chest, four, new, pools)


def _pick(codes: Sequence[str], key: str) -> str:
    return codes[ids.keyed_seed("code", key) % len(codes)]


def _all_apart(findings: Sequence[str]) -> bool:
    return not any(may_both_be(a, b) for a, b in combinations(findings, 2))


def _several_change(
    at: int, chest: Chest, four: tuple[str, ...], new: Sequence[str], pools: dict[str, tuple[str, ...]]
) -> Change:
    """Of the findings that are not new some were there and are, some have gone and some were never there."""
    name = f"{chest.id}/new"
    prior, current, evidence = list(chest.codes), list(chest.codes), []
    for finding in four:
        code = graded(_pick(pools[finding], name), SEVERE)
        state = ids.keyed_seed("state", name, finding) % 3
        was, is_now = (False, True) if finding in new else ((True, True), (True, False), (False, False))[state]
        prior += [code] * was
        current += [code] * is_now
        evidence.append(Evidence("label", finding, present=is_now))
        evidence += [Evidence("code", code, image=i) for i, there in ((0, is_now), (1, was)) if there]
    options = keyed_order(four, name)
    draft = _draft(name, "new ones", one_of(NEW_ONES, name), "", tuple(evidence))
    answers = tuple(option for option in options if option in new)
    draft = replace(draft, answer_type="query", options=options, answers=answers, rationale=listed(answers))
    return Change(at, tuple(prior), tuple(current), (draft,))


def _draft(name: str, part: str, text: str, answer: str, evidence: tuple[Evidence, ...]) -> Draft:
    return Draft(
        name,
        task="compare",
        part=part,
        answer_type="open",
        text=text,
        options=(),
        answers=(answer,),
        kind="compare",
        evidence=evidence,
    )
