"""The options that datasets of reports share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What every dataset of reports is told by the block `data` of a recipe; a dataset adds its own options."""

    split: dict[str, int]  # studies per split
    views: tuple[Literal["frontal", "lateral"], ...] = ("frontal",)  # in the order in which their images come
    root: Path | None = None  # the collection as its owner ships it
    images: Path | None = None  # where the images are, when not under `root`
