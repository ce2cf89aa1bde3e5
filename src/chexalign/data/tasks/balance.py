"""Questions drawn in sets in which every option is right equally often, so that knowing what is common is no help.

A model that answers by how often a finding is right, and never looks at the image, is right as often as by chance: each
set has the same options, and each option the same share of right answers. What fits into no set is left out and
counted.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

from chexalign import ids
from chexalign.data.tasks.findings import may_both_be

LEFT_OUT = "beyond_the_balance"  # why what could be asked is not

N_OPTIONS = 4
_TRIES = 24  # sets of options that a case is tried in; more find a few more sets, and cost as much more

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


def option_sets(findings: Sequence[str], *, in_a_box: bool = False, size: int = N_OPTIONS) -> list[tuple[str, ...]]:
    """All sets of findings of which none says anything about another, sorted; smaller ones where there are none."""
    for n in range(size, 1, -1):
        sets = [
            chosen
            for chosen in combinations(sorted(set(findings)), n)
            if not any(may_both_be(a, b, in_a_box=in_a_box) for a, b in combinations(chosen, 2))
        ]
        if sets:
            return sets
    return []


def one_right_each(cases: Sequence[Case], sets: Sequence[tuple[str, ...]]) -> list[Drawn]:
    """Cases with exactly one right option, in groups of one split and one set of options: one case for each option.

    No case is taken twice. Cost: some 30 µs per case and set that it is tried in.
    """
    waiting: defaultdict[tuple[str, int], dict[str, list[int]]] = defaultdict(dict)
    taken: set[int] = set()
    drawn: list[Drawn] = []
    for at in _keyed(cases):
        case = cases[at]
        for number in _tried(case.key, len(sets)):
            options = sets[number]
            right = case.present.intersection(options)
            if len(right) != 1 or not case.absent.issuperset(o for o in options if o not in right):
                continue
            of_option = waiting[case.split, number]
            of_option.setdefault(next(iter(right)), []).append(at)
            group = _one_of_each(of_option, options, taken)
            if group is not None:
                taken.update(group)
                drawn += [Drawn(i, options, (o,)) for i, o in zip(group, options, strict=True)]
                break
    return drawn


def opposites(cases: Sequence[Case], sets: Sequence[tuple[str, ...]]) -> list[Drawn]:
    """Pairs of cases of one split and one set of options: what is right for one is what is wrong for the other.

    At least one option is right and one is wrong; no case is taken twice.
    """
    waiting: defaultdict[tuple[str, int, frozenset[str]], list[int]] = defaultdict(list)
    taken: set[int] = set()
    drawn: list[Drawn] = []
    for at in _keyed(cases):
        case = cases[at]
        for number in _tried(case.key, len(sets)):
            options = sets[number]
            right = case.present.intersection(options)
            wrong = frozenset(options) - right
            if not right or not wrong or not wrong <= case.absent:
                continue
            partner = _free(waiting[case.split, number, wrong], taken)
            if partner is not None:
                taken |= {at, partner}
                drawn += [
                    Drawn(partner, options, tuple(o for o in options if o in wrong)),
                    Drawn(at, options, tuple(o for o in options if o in right)),
                ]
                break
            waiting[case.split, number, right].append(at)
    return drawn


def _keyed(cases: Sequence[Case]) -> Iterator[int]:
    keys = [ids.digest("case", case.key) for case in cases]
    return iter(sorted(range(len(cases)), key=lambda at: (keys[at], cases[at].key)))


def _tried(key: str, n_sets: int) -> Sequence[int]:
    if n_sets <= _TRIES:
        return range(n_sets)
    return random.Random(ids.keyed_seed("sets", key)).sample(range(n_sets), _TRIES)


def _one_of_each(of_option: dict[str, list[int]], options: Sequence[str], taken: set[int]) -> list[int] | None:
    if len(of_option) < len(options):
        return None
    group = [_last_free(of_option[option], taken) for option in options]
    return [at for at in group if at is not None] if None not in group else None


def _last_free(queue: list[int], taken: set[int]) -> int | None:
    while queue and queue[-1] in taken:
        queue.pop()
    return queue[-1] if queue else None


def _free(queue: list[int], taken: set[int]) -> int | None:
    at = _last_free(queue, taken)
    if at is not None:
        queue.pop()
    return at
