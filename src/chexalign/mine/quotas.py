"""How many preferences each type of question gets, so that the mined set is balanced by a rule that has a name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from chexalign.errors import UserError
from chexalign.recipe.mine import QuotaRule

DEFAULT_SHARE = 0.05  # of the SFT data, as published


@dataclass(frozen=True, slots=True)
class Quotas:
    """For each type of question: what the rule wants, what is given, and how much of the wanted there was not.

    The given add up to the budget: what one type lacks is passed on to the others.
    """

    wanted: dict[str, int]
    given: dict[str, int]
    short: dict[str, int]


def budget_of(n_sft: int, *, share: float = DEFAULT_SHARE) -> int:
    """How many preferences a share of the SFT data is, rounded to the nearest.

    Raises: UserError when the share is not above 0 and at most 1, or comes to none.
    """
    if not 0 < share <= 1:
        raise UserError(
            f"The mining budget is a share of {share} of the SFT data.",
            "A budget larger than the data cannot be mined from it, and one of 0 mines nothing.",
            f"Give a share above 0 and at most 1; the published one is {DEFAULT_SHARE}.",
        )
    budget = math.floor(share * n_sft + 0.5)
    if budget < 1:
        raise UserError(
            f"A share of {share} of {n_sft} SFT items comes to no item.",
            "The mined set would be empty.",
            "Give a larger share.",
        )
    return budget


def quotas(
    rule: QuotaRule, budget: int, *, available: Mapping[str, int], failed: Mapping[str, int], data: Mapping[str, int]
) -> Quotas:
    """The budget shared out over the types of question that the data has.

    `equal` gives every type the same, `as_failed` by the number of its questions that the policy fails, `as_data` by
    the number of its questions. Shares are rounded by the largest remainder, among equal ones by name. What a type
    wants beyond its `available` candidates goes to those that have more, by the same rule; where the rule gives all
    of these nothing, equally.
    Raises: UserError when the budget is larger than all that is available.
    """
    names = sorted({*available, *data})
    room = {name: available.get(name, 0) for name in names}
    if budget > sum(room.values()):
        raise UserError(
            f"The mining budget is {budget}, and there are {sum(room.values())} candidates.",
            "A budget larger than the data cannot be filled; candidates are what was retrieved, or all failures.",
            "Lower the budget (mine.share), retrieve more (mine.k, mine.seeds), or ask more questions (mine.ask).",
        )
    counts: dict[QuotaRule, Mapping[str, int]] = {
        "equal": dict.fromkeys(names, 1),
        "as_failed": failed,
        "as_data": data,
    }
    weights = {name: counts[rule].get(name, 0) for name in names}
    wanted = apportion(budget, weights if any(weights.values()) else dict.fromkeys(names, 1))
    given = dict.fromkeys(names, 0)
    while (left := budget - sum(given.values())) > 0:
        open_ = {name: weights[name] for name in names if given[name] < room[name]}
        more = apportion(left, open_ if any(open_.values()) else dict.fromkeys(open_, 1))
        for name, n in more.items():
            given[name] = min(room[name], given[name] + n)
    return Quotas(wanted, given, {name: n - room[name] for name, n in wanted.items() if n > room[name]})


def apportion(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers in the ratio of the weights that add up to the total, by the largest remainder.

    >>> apportion(10, {"basic": 1, "compare": 1, "region": 1})
    {'basic': 4, 'compare': 3, 'region': 3}
    """
    whole = sum(weights.values())
    exact = {name: Fraction(total * weight, whole) for name, weight in weights.items()}
    found = {name: math.floor(share) for name, share in exact.items()}
    rest = sorted(exact, key=lambda name: (found[name] - exact[name], name))
    for name in rest[: total - sum(found.values())]:
        found[name] += 1
    return found
