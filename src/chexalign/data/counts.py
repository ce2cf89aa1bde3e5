"""How many studies or questions collections have by the word of those who published them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """The published count of a source's studies or questions, those that are left out included.

    `but` names reasons for leaving out what is none of them, such as a malformed line of a table of images.
    """

    n: int
    what: str
    origin: str
    but: tuple[str, ...] = ()


_LINES = ("malformed_row", "duplicate_row")
_OPENI = Published(3_955, "reports", "the collection's archive NLMCXR_reports.tgz")

PUBLISHED: dict[str, Published] = {
    "mimic-cxr": Published(227_835, "studies", "Johnson et al. 2019, Scientific Data 6:317", but=("malformed_row",)),
    "chexpert-plus": Published(
        187_711,
        "reports",
        "Chambon et al. 2024, arXiv:2405.19538",
        but=("malformed_row", "id_of_another_study", "image_listed_twice"),
    ),
    "openi": _OPENI,
    "openi-phantom": _OPENI,
    "rsna": Published(26_684, "images", "stage_2_train_labels.csv of the challenge", but=_LINES),
    "slake": Published(14_028, "questions", "Liu et al. 2021, arXiv:2102.09542"),
    "mimic-vqa": Published(377_391, "questions", "release 1.0.0 on PhysioNet"),
    "diff-vqa": Published(700_703, "questions", "Hu et al. 2023, arXiv:2307.11986", but=("malformed_study",)),
}
"""Published counts by the `source` of a table's rows; other collections are not compared."""
