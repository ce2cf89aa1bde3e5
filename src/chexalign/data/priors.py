"""What came before an exam: the newest earlier frontal image of the same patient."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chexalign.data.base import DropStudyError
from chexalign.data.images import image_ref
from chexalign.types import ImageRef


def newest_earlier(exams: Iterable[tuple[str, str, Any, str | None]]) -> dict[str, tuple[str, str]]:
    """The study and the image that came last before each study; studies that nothing came before are left out.

    An exam is (study, patient, when, frontal image or None); times are whatever can be ordered, and of equal ones
    neither is before the other.
    """
    exams = list(exams)
    shown: defaultdict[str, list[tuple[Any, str, str]]] = defaultdict(list)
    for study, patient, when, image in exams:
        if image is not None:
            shown[patient].append((when, study, image))
    for of_patient in shown.values():
        of_patient.sort()
    found = {}
    for study, patient, when, _ in exams:
        earlier = bisect_left(shown.get(patient, []), when, key=lambda exam: exam[0])
        if earlier:
            found[study] = shown[patient][earlier - 1][1:]
    return found


def prior_ref(path: Path, *, into: Path) -> ImageRef:
    """A reference to the image of an earlier exam.

    Raises: DropStudyError: what `image_ref` raises, with "prior_" in front.
    """
    try:
        return image_ref(path, "frontal", role="prior", into=into)
    except DropStudyError as e:
        raise DropStudyError(f"prior_{e}") from None
