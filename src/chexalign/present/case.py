"""What a report shows of one study: its images, the radiologist's text, and what every policy wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CaseImage:
    """One image of a case as JPEG bytes; a synthetic one is stamped as such in its caption."""

    jpeg: bytes
    view: str
    synthetic: bool

    def __post_init__(self) -> None:
        if not self.jpeg.startswith(b"\xff\xd8"):
            raise ValueError("CaseImage: the bytes are not a JPEG")


@dataclass(frozen=True, slots=True)
class Case:
    """One test study: its images, the radiologist's text, and what every policy wrote."""

    study_id: str
    images: Sequence[CaseImage]
    indication: str | None
    reference: str
    reference_labels: Sequence[str]
    texts: Mapping[str, str]  # by policy
    labels: Mapping[str, Sequence[str]]  # by policy
    scores: Mapping[str, Mapping[str, float]]  # by policy, then by metric; NaN where a judge gave none
