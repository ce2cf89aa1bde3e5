"""Image files of a collection: found, hashed and checked for being whole, without decoding their pixels."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

from chexalign import ids
from chexalign.data.base import DropStudyError
from chexalign.types import ImageRef, Role, View

FRONTAL = ("PA", "AP")  # in the order in which one is taken where a study has several
LATERAL = ("LATERAL", "LL", "RL")
_FRONTAL_WORDS, _LATERAL_WORDS = {"FRONTAL", *FRONTAL}, {"L", *LATERAL}

_JPEG_START, _JPEG_END, _TAIL_BYTES = b"\xff\xd8", b"\xff\xd9", 4096


def view_of(word: str | None) -> View:
    """What a collection's word for a view means: `PA` and `Frontal` are frontal, `LL` is lateral."""
    name = (word or "").strip().upper()
    return "frontal" if name in _FRONTAL_WORDS else "lateral" if name in _LATERAL_WORDS else "unknown"


def of_the_views(images: Iterable[tuple[str, View]], views: Sequence[str]) -> list[tuple[str, View]]:
    """The first image of each wanted view, in the order of the views."""
    found = list(images)
    firsts = (next((image for image in found if image[1] == view), None) for view in views)
    return [image for image in firsts if image is not None]


def image_ref(path: Path, view: View, *, role: Role = "current") -> ImageRef:
    """A reference to an image file, by the hash of its bytes.

    A file that is cut short is found by its end (JPEG) or its checksums (PNG). Damage inside the data of a JPEG is
    found only when the image is opened. Cost: one read and a hash; the size is read from the header.
    Raises: DropStudyError: image_missing or image_unreadable.
    """
    from PIL import Image

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DropStudyError("image_missing") from None
    except OSError:
        raise DropStudyError("image_unreadable") from None
    if data.startswith(_JPEG_START) and _JPEG_END not in data[-_TAIL_BYTES:]:
        raise DropStudyError("image_unreadable")
    try:
        with Image.open(BytesIO(data)) as image:
            width, height = image.size
            image.verify()
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        raise DropStudyError("image_unreadable") from None
    return ImageRef(str(path.absolute()), ids.bytes_sha256(data), view, height_px=height, width_px=width, role=role)
