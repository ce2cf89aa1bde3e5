"""DICOM images, as they would show on a screen."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from chexalign.data.base import DropStudyError
from chexalign.data.dicom_codec import CODEC
from chexalign.data.dicom_gray import check_photometric, to_gray
from chexalign.data.dicom_header import Header, read_header
from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.data.pixels import Array

_MARK, _MARK_AT = b"DICM", 128
_SUFFIXES = (".dcm", ".dicom")
_DEFLATED, _META_BYTES = b"1.2.840.10008.1.2.1.99", 1 << 16


def is_dicom(data: bytes, suffix: str) -> bool:
    """True for a DICOM file, by its mark; some lack the mark and have the suffix."""
    return data[_MARK_AT : _MARK_AT + len(_MARK)] == _MARK or suffix.lower() in _SUFFIXES


def read_dicom(data: bytes, *, most_pixels: int) -> tuple[Array, Header]:
    """The gray values `[height, width] uint8` of a DICOM file with one image, and what its header gives away.

    Raises: DropStudyError: dicom_without_pixels, image_too_large, image_unreadable, or dicom_not_supported_ followed by
    frames, color, floats, deflated or transfer_syntax; UserError when pydicom or the codecs are not installed.
    """
    if importlib.util.find_spec("pydicom") is None:
        raise _not_installed("pydicom is not installed.")
    if _DEFLATED in data[:_META_BYTES]:  # it would be inflated whole, to whatever size
        raise DropStudyError("dicom_not_supported_deflated")
    with quiet():
        try:
            dataset = _read(data)
            _check(dataset, most_pixels)
            gray = to_gray(_stored(dataset, data), dataset)
            if gray.size > most_pixels:  # it was made larger to have square pixels
                raise DropStudyError("image_too_large")
            return gray, read_header(dataset)
        except (DropStudyError, UserError):
            raise
        except Exception:  # pydicom raises whatever damage leads to, and its words may quote the header
            raise DropStudyError("image_unreadable") from None


def _read(data: bytes) -> Any:
    from pydicom import dcmread
    from pydicom.uid import ImplicitVRLittleEndian

    dataset = dcmread(BytesIO(data), force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # the standard's default
    return dataset


def _check(dataset: Any, most_pixels: int) -> None:
    """Raises: DropStudyError for what is known to be unusable before pixels are decoded."""
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise DropStudyError("dicom_not_supported_floats")
    if not dataset.get("PixelData"):
        raise DropStudyError("dicom_without_pixels")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise DropStudyError("dicom_not_supported_frames")
    if int(dataset.Rows) * int(dataset.Columns) > most_pixels:
        raise DropStudyError("image_too_large")
    check_photometric(dataset)


def _stored(dataset: Any, data: bytes) -> Array:
    """The stored values `[height, width]`, with a last axis of colors where there are some.

    What pydicom or PIL decodes is decoded here, and what C++ decodes in a process of its own.
    """
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax == RLELossless:
        stored: Array = dataset.pixel_array
        return stored
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise DropStudyError("dicom_not_supported_transfer_syntax") from None
    plugins = decoder.available_plugins
    if syntax == JPEGBaseline8Bit and "pillow" in plugins:
        from pydicom.pixels import pixel_array

        return pixel_array(dataset, decoding_plugin="pillow")
    if not plugins and importlib.util.find_spec("gdcm") is None:
        raise _not_installed(f"Its pixels are compressed ({syntax.name}), and python-gdcm is not installed.")
    deep = syntax == JPEGExtended12Bit and int(dataset.BitsStored) > 8
    if not plugins or (deep and "pylibjpeg" not in plugins):
        raise DropStudyError("dicom_not_supported_transfer_syntax")
    found = CODEC.stored_values(data)
    if found is None:
        raise DropStudyError("image_unreadable")
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps readers of images from warning of odd values: a line per image, and some of them quote the header."""
    import logging

    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _not_installed(why: str) -> UserError:
    return UserError(
        "An image is a DICOM file.",
        why,
        "Install what reads it: pip install 'chexalign[dicom]'",
    )
