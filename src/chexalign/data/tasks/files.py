"""The image files of a collection that names them by id: where they are, whatever their folders are called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from chexalign.data.layout import not_there
from chexalign.data.questions import Picture

ENDINGS = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")


def image_files(places: Sequence[Path], source: str, looked_for: str) -> dict[str, Picture]:
    """Each frontal image by its name without ending, from the first of the folders that has any, at any depth.

    Where several files have one name, the first path in the order of the alphabet is taken. Links to folders are
    followed, each folder once.
    Raises: UserError when no folder has an image.
    """
    for place in places:
        found: dict[str, Picture] = {}
        seen: set[Path] = set()
        for folder, folders, names in os.walk(place, followlinks=True):
            end = Path(folder).resolve()
            if end in seen:  # links can lead round in a circle
                folders.clear()
                continue
            seen.add(end)
            folders.sort()
            for name in sorted(names):
                stem, dot, ending = name.rpartition(".")
                if (dot + ending).lower() in ENDINGS:
                    found.setdefault(stem, Picture(f"{folder}/{name}", "frontal", top=str(place)))
        if found:
            return found
    raise not_there(places[0].parent, looked_for, source)


def under(root: Path, folders: Sequence[str], images: Path | None) -> list[Path]:
    """Where to look for images: in the folder that was named, or else in those of the official layout."""
    return [images] if images is not None else [root / folder for folder in folders]
