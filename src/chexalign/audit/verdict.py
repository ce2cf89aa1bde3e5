"""What a check says: ok, warn or fail, how often, and the ids and hashes that it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail", "skipped"]
Example = Mapping[str, str]  # ids, hashes, splits and counts by name; never text of a report

KEPT = 100  # examples of one check that are kept; all are counted
_RANK: dict[Status, int] = {"skipped": 0, "ok": 1, "warn": 2, "fail": 3}

_TRAINED_ON = ("sft", "prefer", "train")
_ORDER = (*_TRAINED_ON, "validation", "test")


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its verdict, how many rows or pairs it found, and the first of them."""

    name: str
    status: Status
    n: int
    said: str
    found: tuple[Example, ...] = ()


def worst(statuses: Iterable[Status]) -> Status:
    """The gravest of the verdicts, skipped where all are; ok where there is none."""
    return max(statuses, key=_RANK.__getitem__, default="ok")


class Splits:
    """Names of splits as bits, so that the splits that a patient or an image is in are one number."""

    def __init__(self) -> None:
        self._bits: dict[str, int] = {}

    def bit(self, name: str) -> int:
        """The bit of a split."""
        return self._bits.setdefault(name, 1 << len(self._bits))

    def bits(self) -> list[int]:
        """The bits of all splits that were met."""
        return list(self._bits.values())

    @staticmethod
    def is_learned(name: str) -> bool:
        """True for the splits that policies are trained on."""
        return name in _TRAINED_ON

    def names(self, mask: int) -> list[str]:
        """The splits of a number, those that are learned from first."""
        there = [name for name, bit in self._bits.items() if mask & bit]
        return sorted(there, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))

    def shown(self, mask: int) -> str:
        """The splits of a number in words."""
        return ", ".join(self.names(mask))

    def status(self, mask: int) -> Status:
        """How grave it is to be in these splits at once.

        Fail where what is learned from and what is measured on meet, or what is chosen by and what is reported. Warn
        for sft and prefer, which are both learned from; a `train` of questions is beside either of them.
        """
        names = self.names(mask)
        roles = {"train" if name in _TRAINED_ON else name for name in names}
        return "fail" if len(roles) > 1 else "warn" if {"sft", "prefer"} <= {*names} else "ok"


def in_several(name: str, what: str, masks: Mapping[str, int], splits: Splits, where: str = "") -> Check:
    """The check that nothing of a kind, `what`, is in two splits; `masks` has the splits of each."""
    twice = {key: mask for key, mask in masks.items() if mask & (mask - 1) and splits.status(mask) != "ok"}
    status = worst(splits.status(mask) for mask in twice.values())
    place = {"table": where} if where else {}
    found = [place | {what: key, "splits": splits.shown(mask)} for key, mask in grave_first(twice, splits)]
    said = f"{len(masks):,} looked at, none in two splits" if not twice else f"{len(twice):,} are in two splits"
    return Check(name, status, len(twice), said, tuple(found[:KEPT]))


def grave_first(masks: Mapping[str, int], splits: Splits) -> list[tuple[str, int]]:
    """The entries in their order, those that fail before those that warn."""
    return sorted(masks.items(), key=lambda pair: -_RANK[splits.status(pair[1])])


def together(name: str, checks: Sequence[Check]) -> Check:
    """Checks of several tables as one: the gravest verdict, the sum of what was found."""
    if len(checks) == 1:
        return checks[0]
    telling = [check for check in checks if check.n] or list(checks)
    said = "; ".join(dict.fromkeys(check.said for check in telling))
    found = [example for check in sorted(checks, key=lambda c: -_RANK[c.status]) for example in check.found]
    return Check(name, worst(c.status for c in checks), sum(c.n for c in checks), said, tuple(found[:KEPT]))
