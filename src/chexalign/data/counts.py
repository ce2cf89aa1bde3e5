"""How many rows, images and patients collections have by the word of those who published them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Published:
    """One published count of a source.

    `rows` are studies or questions as the collection lists them, those that were left out included; `but` names reasons
    for leaving out what is no such row, such as a malformed line of a table of images. `images` and `patients` are
    compared only where no row was left out.
    """

    what: Literal["rows", "images", "patients"]
    n: int
    origin: str
    but: tuple[str, ...] = ()


_MIMIC = "Johnson et al. 2019, Scientific Data 6:317"
_CHEXPERT_PLUS = "Chambon et al. 2024, arXiv:2405.19538"
_OPENI = "the collection's archive NLMCXR_reports.tgz"

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "mimic-cxr": (
        Published("rows", 227_835, _MIMIC, but=("malformed_row",)),
        Published("images", 377_110, _MIMIC),
        Published("patients", 65_379, _MIMIC),
    ),
    "chexpert-plus": (
        Published("rows", 187_711, _CHEXPERT_PLUS, but=("malformed_row",)),
        Published("images", 223_228, _CHEXPERT_PLUS),
        Published("patients", 64_725, _CHEXPERT_PLUS),
    ),
    "openi": (Published("rows", 3_955, _OPENI),),
    "openi-phantom": (Published("rows", 3_955, _OPENI),),
}
"""Published counts by the `source` of a table's rows; collections without any are not compared."""
