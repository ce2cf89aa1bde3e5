"""What a dataset is: a cheap list of items, and a study made of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from chexalign.errors import UserError
from chexalign.ids import digest
from chexalign.types import Study

# Fixed for good: which patients are tested on stays the same whatever the seed of a run.
SPLIT_SEED = 20261122

BEYOND = "beyond_the_split"  # why a study that could be used is not


@dataclass(frozen=True, slots=True)
class Item:
    """A study that is known of but not read yet."""

    id: str
    split: str
    payload: Any  # what the dataset needs to make the study; sent to worker processes


class DropStudyError(Exception):
    """Raised by `Dataset.study` for an item that cannot become a study; its text is the reason."""


class Dataset(Protocol):
    """Reads one collection."""

    license: str
    synthetic: bool  # images are drawn, not taken

    def items(self) -> tuple[list[Item], dict[str, int]]:
        """All items of the splits in a fixed order, and how many were dropped for which reason."""
        ...

    def study(self, item: Item, images: Path) -> Study:
        """The study of an item; images that the dataset makes are written to the folder `images`.

        Raises: DropStudyError with a reason.
        """
        ...


def assign_splits(ids: list[str], sizes: dict[str, int], *, seed: int) -> dict[str, str]:
    """A split for as many ids as the sizes ask for, in an order that depends on the seed and each id alone.

    Raises: UserError when the sizes ask for more than there is.
    """
    if sum(sizes.values()) > len(ids):
        raise too_few(sizes, len(ids))
    order = sorted(ids, key=lambda i: digest("split", seed, i))
    names = [name for name, n in sizes.items() for _ in range(n)]
    return dict(zip(order, names, strict=False))


def assign_by_patient(
    patients: Mapping[str, str],
    sizes: Mapping[str, int],
    *,
    seed: int,
    reason: Callable[[str], str | None] = lambda _: None,
) -> tuple[dict[str, str], Counter[str]]:
    """A split for at most as many studies as the sizes ask for, no patient in two splits, and why others have none.

    `patients` has the patient of each study. Patients come in an order that depends on the seed and each alone.
    `reason` says why a study cannot be used; it is asked only where the answer decides which studies a split gets,
    so a caller to whom it is costly checks the studies of a split that takes all that is left when it makes them.
    """
    places = {patient: digest("split", seed, patient) for patient in set(patients.values())}
    order = sorted(patients, key=lambda i: (places[patients[i]], patients[i]))
    groups = [list(group) for _, group in groupby(order, key=lambda i: patients[i])]
    splits: dict[str, str] = {}
    dropped = Counter[str]()
    taken = 0
    for name, size in sizes.items():
        takes_all, room = sum(map(len, groups[taken:])) <= size, size
        while room > 0 and taken < len(groups):
            usable = groups[taken] if takes_all else list(_usable(groups[taken], reason, dropped))
            splits |= dict.fromkeys(usable[:room], name)
            dropped[BEYOND] += max(0, len(usable) - room)
            room -= len(usable[:room])
            taken += 1
    dropped[BEYOND] += sum(map(len, groups[taken:]))
    return splits, +dropped


def assign_by_official(
    patients: Mapping[str, str],
    official: Mapping[str, str],
    ours: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
    *,
    reason: Callable[[str], str | None] = lambda _: None,
) -> tuple[dict[str, str], Counter[str]]:
    """A split for at most as many studies as the sizes ask for, out of the collection's own splits.

    `official` has the collection's split of each study, and `ours` says which of ours are shared out of each, the most
    held-out one last: a patient who is in two keeps the studies of the later. The rest is `assign_by_patient`.
    Raises: UserError when a split that is asked for gets nothing.
    """
    rank = {name: place for place, name in enumerate(ours)}
    highest: dict[str, int] = {}
    for i, patient in patients.items():
        highest[patient] = max(highest.get(patient, 0), rank.get(official.get(i, ""), 0))
    splits: dict[str, str] = {}
    dropped = Counter(no_official_split=sum(official.get(i) not in ours for i in patients))
    for name, targets in ours.items():
        wanted = {split: sizes[split] for split in targets if sizes.get(split)}
        theirs = {i: patient for i, patient in patients.items() if official.get(i) == name}
        kept = {i: patient for i, patient in theirs.items() if highest[patient] == rank[name]}
        found, why = assign_by_patient(kept, wanted, seed=SPLIT_SEED, reason=reason)
        for split in wanted:
            if split not in found.values():
                raise _nothing_left(split, name, len(theirs))
        splits |= found
        dropped += why + Counter(patient_in_another_split=len(theirs) - len(kept))
    return splits, +dropped


def _nothing_left(split: str, official: str, there: int) -> UserError:
    return UserError(
        f"data.split.{split} has no study.",
        f"Of the collection's own split {official} {there} studies are listed, and none of them has report, findings, "
        "image of the views and a place in the split.",
        "Check that reports and images are of one release; make the other split smaller if two share one.",
    )


def held_out_first(sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes in an order in which more studies to train on change nothing of the splits for evaluation."""
    first = [name for name in ("test", "validation", "prefer") if name in sizes]
    return {name: sizes[name] for name in [*first, *(name for name in sizes if name not in first)]}


def _usable(group: list[str], reason: Callable[[str], str | None], dropped: Counter[str]) -> Iterator[str]:
    for i in group:
        why = reason(i)
        if why is None:
            yield i
        else:
            dropped[why] += 1


def too_few(sizes: Mapping[str, int], there: int) -> UserError:
    """The error for sizes that ask for more studies than there are."""
    wanted = sum(sizes.values())
    largest = max(sizes, key=lambda name: sizes[name])
    return UserError(
        f"data.split asks for {wanted} studies: " + ", ".join(f"{name} {n}" for name, n in sizes.items()) + ".",
        f"The collection has {there} usable ones.",
        f"Make the splits smaller, e.g. --set data.split.{largest}={max(1, sizes[largest] - wanted + there)}",
    )
