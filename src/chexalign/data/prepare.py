"""The stage that turns a dataset into study rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from chexalign.data.base import Dataset, DropStudyError, Item
from chexalign.spread import PartResult
from chexalign.types import Study


class StudiesWorker:
    """Makes the studies of a fixed slice of items per part."""

    def __init__(self, dataset: Dataset, items: list[Item], images: Path, *, part_size: int) -> None:
        self.dataset, self.items, self.images, self.part_size = dataset, items, images, part_size

    @property
    def n_parts(self) -> int:
        """How many parts the items fill."""
        return -(-len(self.items) // self.part_size)

    def setup(self) -> None:
        """Nothing to load."""

    def part(self, index: int) -> PartResult[Study]:
        """The studies of one slice, and why some are missing."""
        rows, dropped = [], Counter[str]()
        for item in self.items[index * self.part_size : (index + 1) * self.part_size]:
            try:
                rows.append(self.dataset.study(item, self.images))
            except DropStudyError as e:
                dropped[str(e)] += 1
        return PartResult(rows, dict(dropped))
