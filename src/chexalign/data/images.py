"""Image files of a collection: found, hashed and checked for being whole, and decoded once where that is needed.

A file that every policy opens as it is (8-bit PNG or JPEG, gray or RGB, upright) stays where it is, and its pixels are
not decoded here. All others (DICOM, 16 bits, turned by EXIF, CMYK, TIFF ...) become 8-bit grayscale PNGs in the run.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from chexalign import atomic, ids
from chexalign.data import dicom, pixels
from chexalign.data.base import DropStudyError
from chexalign.data.dicom import quiet
from chexalign.data.dicom_header import save_header
from chexalign.data.jpeg_header import plain_jpeg_size
from chexalign.types import ImageRef, Role, View

if TYPE_CHECKING:
    from PIL import Image

FRONTAL = ("PA", "AP")  # in the order in which one is taken where a study has several
LATERAL = ("LATERAL", "LL", "RL")
_FRONTAL_WORDS, _LATERAL_WORDS = {"FRONTAL", *FRONTAL}, {"L", *LATERAL}

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
_PLAIN_MODES = ("L", "RGB")
_JPEG_START, _JPEG_END, _TAIL_BYTES = b"\xff\xd8", b"\xff\xd9", 4096
_PNG_START, _PNG_DEPTH_AT = b"\x89PNG\r\n\x1a\n", 24
_ORIENTATION, _UPRIGHT = 0x0112, (None, 1)
_DAMAGED = (  # whatever PIL raises at damaged files
    *(OSError, SyntaxError, ValueError, TypeError, LookupError),
    *(EOFError, ArithmeticError, struct.error, zlib.error),
)
_DECODER = 1  # goes into the names of decoded images: another way of decoding makes other files


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest image that is read; a radiograph of 4,000 x 5,000 pixels with 16 bits is a third of both.

    They bound what a file can cost: some kilobytes can claim to be gigabytes of pixels.
    """

    pixels: int = 64_000_000
    bytes: int = 128 * 2**20


LIMITS = Limits()


def view_of(word: str | None) -> View:
    """What a collection's word for a view means: `PA` and `Frontal` are frontal, `LL` is lateral."""
    name = (word or "").strip().upper()
    return "frontal" if name in _FRONTAL_WORDS else "lateral" if name in _LATERAL_WORDS else "unknown"


def of_the_views(images: Iterable[tuple[str, View]], views: Sequence[str]) -> list[tuple[str, View]]:
    """The first image of each wanted view, in the order of the views."""
    found = list(images)
    firsts = (next((image for image in found if image[1] == view), None) for view in views)
    return [image for image in firsts if image is not None]


def image_ref(
    path: Path, view: View, *, role: Role = "current", into: Path | None = None, limits: Limits = LIMITS
) -> ImageRef:
    """A reference to an image: to the file itself, or to the PNG that it is decoded to in the folder `into`.

    The hash is that of the file which is referred to. A decoded image is named by the content of its source, so the
    same source is decoded once in a run, and its path starts at the run folder, the parent of `into`.
    A file that is cut short is found by its end (JPEG) or its checksums (PNG). Damage inside the data of a JPEG that
    stays in place is found only when it is opened. Cost: one read and a hash; what is decoded costs its decoding.
    Raises: DropStudyError: image_missing, image_unreadable, image_too_large, image_not_supported, image_to_decode
    (without `into`), or a reason of read_dicom; UserError when `into` cannot be written, or pydicom is not installed.
    """
    data = _read(path, limits)
    is_dicom = dicom.is_dicom(data, path.suffix)
    size = None if is_dicom else _plain_size(data, limits)
    if size is not None:
        return _ref(str(path.absolute()), data, size, view, role)
    if into is None:
        raise DropStudyError("image_to_decode")
    target = into / f"{ids.bytes_sha256(data)[:32]}-{_DECODER}.png"
    png = _decoded_before(target, limits) or _decoded(data, target, limits, is_dicom=is_dicom)
    size = _plain_size(png, limits)
    assert size is not None
    return _ref(f"{into.name}/{target.name}", png, size, view, role)


def _ref(path: str, data: bytes, size: tuple[int, int], view: View, role: Role) -> ImageRef:
    width, height = size
    return ImageRef(path, ids.bytes_sha256(data), view, height_px=height, width_px=width, role=role)


def _read(path: Path, limits: Limits) -> bytes:
    try:
        str(path).encode()  # a table can hold it
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            raise DropStudyError("image_unreadable")
        if status.st_size > limits.bytes:
            raise DropStudyError("image_too_large")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no name of a file
        raise DropStudyError("image_missing") from None
    except OSError:
        raise DropStudyError("image_unreadable") from None


def _plain_size(data: bytes, limits: Limits) -> tuple[int, int] | None:
    """Width and height of an image that every policy opens as it is, or None where it is to be decoded.

    Raises: DropStudyError for a file that is damaged, too large, or no image.
    """
    if data.startswith(_JPEG_START) and _JPEG_END not in data[-_TAIL_BYTES:]:
        raise DropStudyError("image_unreadable")
    found = plain_jpeg_size(data)
    if found is not None and found[0] * found[1] <= limits.pixels:
        return found
    with _opened(data, limits) as image:
        plain = image.format in ("PNG", "JPEG") and image.mode in _PLAIN_MODES and _is_upright(image, data)
        size = image.size
        image.verify()
    return size if plain else None


def _decoded(data: bytes, target: Path, limits: Limits, *, is_dicom: bool) -> bytes:
    """The PNG of an image, written to `target`; of a DICOM file with what its header gives away, written before it."""
    if is_dicom:
        gray, header = dicom.read_dicom(data, most_pixels=limits.pixels)
        save_header(header, target)
    else:
        with _opened(data, limits) as image:
            gray = pixels.to_gray(image)
    png = pixels.gray_png(gray)
    atomic.write_bytes(target, png)
    return png


def _decoded_before(path: Path, limits: Limits) -> bytes | None:
    """The bytes of an image that was decoded before, unless they are damaged."""
    try:
        data = path.read_bytes()
        return data if _plain_size(data, limits) is not None else None
    except (OSError, DropStudyError):
        return None


def _is_upright(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG" and b"eXIf" not in data and "Raw profile type exif" not in image.info:
        return True  # without a look at its EXIF data, for which PIL would decode the pixels
    try:
        return image.getexif().get(_ORIENTATION) in _UPRIGHT
    except _DAMAGED:  # what cannot be read turns nothing
        return True


@contextmanager
def _opened(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    """An image that is open within the `with`; damage that shows in it, there or here, is a DropStudyError."""
    from PIL import Image

    try:
        with quiet(), Image.open(BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > limits.pixels:
                raise DropStudyError("image_too_large")
            if _is_deep_color(data) or (image.format != "MPO" and getattr(image, "n_frames", 1) != 1):
                raise DropStudyError("image_not_supported")
            yield image
    except Image.DecompressionBombError:
        raise DropStudyError("image_too_large") from None
    except _DAMAGED:
        raise DropStudyError("image_unreadable") from None


def _is_deep_color(data: bytes) -> bool:
    """True for a PNG of 16 bits with colors or transparency, of which PIL reads the upper bytes alone."""
    header = data[_PNG_DEPTH_AT : _PNG_DEPTH_AT + 2]  # bit depth and color type; type 0 is gray
    return data.startswith(_PNG_START) and header[:1] == b"\x10" and header[1:] != b"\x00"
