"""What a dataset is: a cheap list of items, and a study made of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chexalign.errors import UserError
from chexalign.ids import digest
from chexalign.types import Study


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
    wanted = sum(sizes.values())
    if wanted > len(ids):
        largest = max(sizes, key=lambda name: sizes[name])
        raise UserError(
            f"data.split asks for {wanted} studies: " + ", ".join(f"{name} {n}" for name, n in sizes.items()) + ".",
            f"The collection has {len(ids)} usable ones.",
            "Make the splits smaller, e.g. --set data.split."
            + f"{largest}={max(1, sizes[largest] - wanted + len(ids))}",
        )
    order = sorted(ids, key=lambda i: digest("split", seed, i))
    names = [name for name, n in sizes.items() for _ in range(n)]
    return dict(zip(order, names, strict=False))
