"""Normalizers of references by name: what is done to the radiologist's findings before anything compares with them.

A number that compares with references depends on which of these was used, so recipes name it, manifests keep it and
reports print it. Indication and impression stay as written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chexalign import cleaning
from chexalign.data.base import Dataset, DropStudyError, Item
from chexalign.recipe import NormalizerName
from chexalign.types import Study

EMPTY = "findings_empty_after_normalizing"

# A sentence ends with a stop and a blank, as that in "1.5 cm" does not; the number of a list belongs to what follows.
_SENTENCE = re.compile(r"(?:\d{1,2}[.)]\s+)?\S.*?(?:[.!?](?=\s)|$)", re.DOTALL)
_OF_EARLIER = re.compile(r"prior|previous|remov|earlier|recurrence|redemonstrate", re.IGNORECASE)
_AGAIN, _NEW = re.compile(r"\s+again\b", re.IGNORECASE), re.compile(r"(?<=\s)new\s+", re.IGNORECASE)


def raw(text: str) -> str:
    """The text as the dataset gives it."""
    return text


def struct_filter(text: str) -> str:
    """The text without sentences that lean on earlier exams, and without the words "again" and "new" in the others.

    Dropped is a sentence that contains prior, previous, remov, earlier, recurrence or redemonstrate, in any case.

    Source: the filter behind MIMIC-CXR-Struct in the data scripts of CheXalign (ACL 2025). There the two words are cut
    out as `" again"` and `" new "`, so that "against" loses its beginning; here whole words alone are cut out.

    >>> struct_filter("There is again a small effusion. Unchanged from prior. A new opacity on the left.")
    'There is a small effusion. A opacity on the left.'
    """
    kept = (sentence for sentence in _SENTENCE.findall(text.strip()) if not _OF_EARLIER.search(sentence))
    return _NEW.sub("", _AGAIN.sub("", " ".join(kept))).strip()


_NORMALIZERS: dict[NormalizerName, Callable[[str], str]] = {
    "raw": raw,
    "chexalign-clean": cleaning.clean,
    "chexalign-struct-filter": struct_filter,
}


def normalizer(name: NormalizerName) -> Callable[[str], str]:
    """The normalizer of that name: a function of one text."""
    return _NORMALIZERS[name]


class Normalized:
    """A dataset whose references went through a normalizer; all else is that of the dataset inside."""

    def __init__(self, dataset: Dataset, name: NormalizerName) -> None:
        self.dataset, self.name = dataset, name
        self.license, self.synthetic = dataset.license, dataset.synthetic

    def items(self) -> tuple[list[Item], dict[str, int]]:
        """The items of the dataset inside; that a text becomes empty is found when its study is made."""
        return self.dataset.items()

    def study(self, item: Item, images: Path) -> Study:
        """The study with its normalized reference.

        Raises: DropStudyError: what the dataset inside raises, or findings_empty_after_normalizing.
        """
        study = self.dataset.study(item, images)
        reference = normalizer(self.name)(study.reference)
        if not reference.strip():
            raise DropStudyError(EMPTY)
        return replace(study, reference=reference)
