"""The images of CheXpert and CheXpert Plus: what their paths say, and where the files are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chexalign.data.layout import not_there
from chexalign.data.questions import TEST, TRAIN, VALIDATION, Picture, share_of
from chexalign.types import View

LICENSE = "Stanford University Dataset Research Use Agreement"

# As the dataset chexpert-plus has them, so that nobody's questions test a policy that learned from his reports.
_SHARES = {TEST: 0.05, TRAIN: 0.95}  # of the patients of train
_PATH = re.compile(r"(?:^|/)((train|valid|test)/(patient\d+)/(study\d+)/view\d+_(frontal|lateral))\.\w+$", re.ASCII)
_ENDINGS = (".jpg", ".png", ".dcm")
_CHUNK = "png_chexpert_plus_chunk_*"
_PLACES = (
    *("CheXpert-v1.0", "CheXpert-v1.0-small", "PNG", "PNG/PNG"),
    *(f"PNG/{_CHUNK}/PNG", f"PNG/{_CHUNK}", f"{_CHUNK}/PNG", _CHUNK, "DICOM/Uncompressed", "DICOM/Compressed", "DICOM"),
)


@dataclass(frozen=True, slots=True)
class Named:
    """An image by its path in a table."""

    stem: str  # "train/patient00001/study1/view1_frontal"
    folder: str  # train, valid or test
    patient: str
    study: str
    view: View

    @property
    def split(self) -> str:
        """Valid is for validation; a twentieth of the patients of train is kept for the test."""
        return share_of(self.patient, _SHARES) if self.folder == "train" else _OURS[self.folder]


_OURS = {"valid": VALIDATION, "test": TEST}


def read_path(path: str) -> Named | None:
    """What a path says, or None where it is not one of the collection; it cannot lead out of the folder.

    >>> read_path("CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg").study
    'patient64541_study1'
    """
    found = _PATH.search(path.strip())
    if found is None:
        return None
    view: View = "frontal" if found[5] == "frontal" else "lateral"
    return Named(found[1], found[2], found[3], f"{found[3]}_{found[4]}", view)


def image_folders(top: Path, source: str) -> list[Path]:
    """The folders that hold train, valid or test.

    Raises: UserError when there is none.
    """
    places = [top, *(place for pattern in _PLACES for place in sorted(top.glob(pattern)))]
    found = [place for place in places if any((place / name).is_dir() for name in ("train", *_OURS))]
    if not found:
        raise not_there(top, "train, valid or test with the images", source)
    return found


def image_file(folders: Sequence[Path], named: Named) -> Picture | None:
    """The first file of an image in the folders: JPEG, PNG or DICOM."""
    for folder in folders:
        for ending in _ENDINGS:
            if (path := folder / f"{named.stem}{ending}").is_file():
                return Picture(str(path), named.view, top=str(folder))
    return None
