"""The stage that turns a dataset into study rows."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from chexalign.data.base import Dataset, DropStudyError, Item
from chexalign.spread import PartResult
from chexalign.types import Study


class StudiesWorker:
    """Makes the studies of a fixed slice of items per part.

    It holds the items packed, slice by slice: a collection's items unpacked take several times the memory, and every
    process has a worker.
    """

    def __init__(self, dataset: Dataset, items: Sequence[Item], images: Path, *, part_size: int) -> None:
        self.dataset, self.images = dataset, images
        self._slices = [pickle.dumps(items[i : i + part_size]) for i in range(0, len(items), part_size)]

    @property
    def n_parts(self) -> int:
        """How many parts the items fill."""
        return len(self._slices)

    def setup(self) -> None:
        """Nothing to load."""

    def part(self, index: int) -> PartResult[Study]:
        """The studies of one slice, and why some are missing."""
        items: list[Item] = pickle.loads(self._slices[index])
        rows, dropped = [], Counter[str]()
        for item in items:
            try:
                rows.append(self.dataset.study(item, self.images))
            except DropStudyError as e:
                dropped[str(e)] += 1
        return PartResult(rows, dict(dropped))
