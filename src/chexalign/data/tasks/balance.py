"""Questions drawn in sets in which every option is right equally often, so that knowing what is common is no help.

A model that answers by how often a finding is right, and never looks at the image, is right as often as by chance: each
set has the same options, and each option the same share of right answers. What fits into no set is left out and
counted.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

from chexalign import ids
from chexalign.data.tasks.findings import may_both_be

LEFT_OUT = "beyond_the_balance"  # why what could be asked is not

N_OPTIONS = 4
_PATIENCE = 256  # sets of options that fit no cases, one after another, before no more are drawn
_LOOKS = 32  # cases that are looked at for one place in a group
_RIGHTS, _WRONGS, _LOOKS_PER_WRONG = 6, 16, 6  # what is tried of each case in search of its opposite

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Case:
    """An image, or a place on one, of which it is known that some findings are there and that others are not."""

    key: str  # names it; what is drawn for it follows from it
    split: str
    present: frozenset[str]
    absent: frozenset[str]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A case to ask about, with the options and those of them that are right."""

    case: int  # its place among the cases
    options: tuple[str, ...]
    right: tuple[str, ...]


def equal_numbers(
    rows: Sequence[T],
    name: Callable[[T], str],
    group: Callable[[T], Hashable],
    answer: Callable[[T], str],
    answers: Sequence[str],
) -> list[T]:
    """As many rows of each answer as the rarest one has in a group, in their own order; which ones, names decide."""
    found: defaultdict[Hashable, defaultdict[str, list[T]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[group(row)][answer(row)].append(row)
    kept: set[int] = set()
    for of_answer in found.values():
        size = min(len(of_answer[a]) for a in answers)
        for same in of_answer.values():
            kept |= {id(row) for row in sorted(same, key=lambda row: ids.digest("equal", name(row)))[:size]}
    return [row for row in rows if id(row) in kept]


def one_right_each(cases: Sequence[Case], findings: Iterable[str], *, in_a_box: bool = False) -> list[Drawn]:
    """Cases with exactly one right option, in groups of one split and one set of options: one case for each option.

    Common findings are drawn more often, so that most cases find a group; no case is taken twice. Where the findings
    allow no four options that say nothing of each other, there are three, or two. Cost: some 50 µs per case.
    """
    friends = _friends(findings, in_a_box=in_a_box)
    size = next((n for n in range(N_OPTIONS, 1, -1) if _has_clique(friends, n)), 0)
    drawn: list[Drawn] = []
    for split in sorted({case.split for case in cases}) if size else ():
        order = _keyed(cases, split)
        queues = {f: deque(at for at in order if f in cases[at].present) for f in sorted(friends)}
        rng = random.Random(ids.keyed_seed("groups", split))
        taken: set[int] = set()
        failures = 0
        while failures < _PATIENCE:
            options = _draw_options(queues, friends, size, rng)
            group = _draw_group(cases, queues, options, taken)
            failures = 0 if group else failures + 1
            taken.update(group)
            drawn += [Drawn(at, options, (option,)) for at, option in zip(group, options, strict=False)]
    return drawn


def in_groups(drawn: Sequence[Drawn]) -> Iterator[Sequence[Drawn]]:
    """What `one_right_each` drew, by groups with the same options."""
    at = 0
    while at < len(drawn):
        size = len(drawn[at].options)
        yield drawn[at : at + size]
        at += size


def opposites(cases: Sequence[Case], findings: Iterable[str]) -> list[Drawn]:
    """Pairs of cases of one split and one set of four options: what is right for one is what is wrong for the other.

    One, two or three options are right; no case is taken twice. Cost: some 200 µs per case.
    """
    friends = _friends(findings)
    drawn: list[Drawn] = []
    for split in sorted({case.split for case in cases}):
        order = _keyed(cases, split)
        with_all: defaultdict[tuple[str, ...], deque[int]] = defaultdict(deque)
        for at in order:
            for right in _answers(cases[at], friends):
                with_all[right].append(at)
        taken: set[int] = set()
        for at in order:
            if at not in taken and (pair := _opposite(cases, at, with_all, friends, taken)):
                other, right, wrong = pair
                taken |= {at, other}
                options = tuple(sorted((*right, *wrong)))
                drawn += [Drawn(at, options, right), Drawn(other, options, wrong)]
    return drawn


def _keyed(cases: Sequence[Case], split: str) -> list[int]:
    found = [at for at, case in enumerate(cases) if case.split == split]
    return sorted(found, key=lambda at: (ids.digest("case", cases[at].key), cases[at].key))


def _friends(findings: Iterable[str], *, in_a_box: bool = False) -> dict[str, frozenset[str]]:
    """For each finding, those that can stand beside it among the options."""
    every = sorted(set(findings))
    return {a: frozenset(b for b in every if not may_both_be(a, b, in_a_box=in_a_box)) for a in every}


def _has_clique(friends: Mapping[str, frozenset[str]], size: int) -> bool:
    return any(_are_friends(chosen, friends) for chosen in combinations(sorted(friends), size))


def _are_friends(findings: Sequence[str], friends: Mapping[str, frozenset[str]]) -> bool:
    return all(b in friends[a] for a, b in combinations(findings, 2))


def _draw_options(
    queues: Mapping[str, deque[int]], friends: Mapping[str, frozenset[str]], size: int, rng: random.Random
) -> tuple[str, ...]:
    """So many findings of cases that are left, or fewer where the first ones drawn leave no more."""
    chosen: list[str] = []
    left = [f for f, queue in queues.items() if queue]
    while left and len(chosen) < size:
        (one,) = rng.choices(left, [len(queues[f]) for f in left])
        chosen.append(one)
        left = [f for f in left if f in friends[one]]
    return tuple(sorted(chosen)) if len(chosen) == size else ()


def _draw_group(
    cases: Sequence[Case], queues: Mapping[str, deque[int]], options: Sequence[str], taken: set[int]
) -> list[int]:
    """A case for each option, for which it is right and the others are wrong, or none at all."""
    group: list[int] = []
    for option in options:
        others = set(options) - {option}
        found = _first(queues[option], taken, cases, others, looks=_LOOKS)
        if found is None:
            return []
        group.append(found)
    return group


def _first(
    queue: deque[int], taken: set[int], cases: Sequence[Case], wrong: Iterable[str], *, looks: int
) -> int | None:
    """The first case of the queue that is not taken and does not show what is wrong.

    Cases that do not fit go to the end of the queue; few are looked at.
    """
    wrong = frozenset(wrong)
    for _ in range(looks):
        while queue and queue[0] in taken:
            queue.popleft()
        if not queue:
            return None
        if wrong <= cases[queue[0]].absent:
            return queue[0]
        queue.rotate(-1)
    return None


def _answers(case: Case, friends: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, ...]]:
    """All sets of findings that could be a case's right answer."""
    present = sorted(case.present & friends.keys())
    for n in range(1, N_OPTIONS):
        yield from (right for right in combinations(present, n) if _are_friends(right, friends))


def _opposite(
    cases: Sequence[Case],
    at: int,
    with_all: Mapping[tuple[str, ...], deque[int]],
    friends: Mapping[str, frozenset[str]],
    taken: set[int],
) -> tuple[int, tuple[str, ...], tuple[str, ...]] | None:
    """Another case, what is right for the first one, and what is right for the other."""
    rng = random.Random(ids.keyed_seed("opposite", cases[at].key))
    rights = list(_answers(cases[at], friends))
    rng.shuffle(rights)
    for right in sorted(rights, key=len, reverse=True)[:_RIGHTS]:
        possible = sorted(cases[at].absent.intersection(*(friends[r] for r in right)))
        wrongs = [w for w in combinations(possible, N_OPTIONS - len(right)) if w in with_all]
        for wrong in rng.sample(wrongs, min(len(wrongs), _WRONGS)):
            if not _are_friends(wrong, friends):
                continue
            other = _first(with_all[wrong], taken, cases, right, looks=_LOOKS_PER_WRONG)
            if other is not None:
                return other, right, wrong
    return None
