"""What a DICOM image shows on a screen: from stored values to gray, in the order of the standard.

    stored values -> Modality LUT or rescale -> VOI LUT or window -> inverted if MONOCHROME1 -> square pixels

Source: DICOM PS3.3, sections C.7.6.3 (photometric interpretation, pixel aspect ratio), C.11.1 and C.11.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chexalign.data.base import DropStudyError
from chexalign.data.pixels import WHITE, by_value, scaled, to_8_bit

if TYPE_CHECKING:
    from chexalign.data.pixels import Array

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")  # which pydicom gives as RGB

_AS_THEY_ARE_BITS = 8  # gray values already, where no window says otherwise
_SAME, _ABSURD = 0.05, 4.0  # ratios of the sides of a pixel: what counts as square, and what is no ratio at all
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def to_gray(stored: Array, header: Any) -> Array:
    """Gray values `[height, width] uint8` of stored values and the dataset that they come from.

    The first VOI LUT is used, or else the first window, of any of the three functions. Where there is neither, or it
    would show everything in one shade, 8 bits are taken as they are and more are scaled by the range of the values that
    occur, padding left out. Overlays are not drawn, and left and right stay as stored.
    """
    if stored.ndim == 3:
        import numpy as np
        from PIL import Image

        gray = np.asarray(Image.fromarray(to_8_bit(stored) if stored.dtype != np.uint8 else stored).convert("L"))
    else:
        gray = by_value(stored, _display(stored, header))
    return _square(gray, header)


def _display(stored: Array, header: Any) -> Callable[[Array], Array]:
    """The function from stored values to gray."""
    from pydicom.pixels import apply_modality_lut

    used = apply_modality_lut(_used(stored, header), header)
    voi = _voi_lut(header) or _window(header)
    if voi is not None and _flat(voi(used)) and not _flat(used):
        voi = None
    shown = voi or _whole_range(used, header)

    def gray(values: Array) -> Array:
        found = shown(apply_modality_lut(values, header))
        return WHITE - found if header.PhotometricInterpretation == "MONOCHROME1" else found

    return gray


def _flat(values: Array) -> bool:
    return bool(values.min() == values.max())


def _used(stored: Array, header: Any) -> Array:
    """The stored values that occur, each once, in order, without those that pad the image."""
    import numpy as np

    if stored.dtype.itemsize > 2:
        values = np.unique(stored)
    else:
        first = int(stored.min())
        values = np.flatnonzero(np.bincount((stored.astype(np.int32) - first).ravel())) + first
    padding = header.get("PixelPaddingValue")
    if padding is None:
        return values
    ends = sorted((int(padding), int(header.get("PixelPaddingRangeLimit", padding))))
    image = values[(values < ends[0]) | (values > ends[1])]
    return image if image.size else values


def _whole_range(used: Array, header: Any) -> Callable[[Array], Array]:
    """Black to white over what 8 bits or fewer can hold, or over the values that are used."""
    import numpy as np
    from pydicom.pixels import apply_modality_lut

    bits = int(header.BitsStored)
    if bits <= _AS_THEY_ARE_BITS:
        low = -(1 << (bits - 1)) if header.PixelRepresentation else 0
        used = apply_modality_lut(np.array([low, low + (1 << bits) - 1]), header)
    ends = float(used.min()), float(used.max())
    return lambda values: scaled(values, *ends)


def _first(value: Any) -> float | None:
    """The first number of an element that may have several, or None where there is no finite one."""
    value = value[0] if isinstance(value, list | tuple) or hasattr(value, "append") else value
    if value is None or value == "" or not math.isfinite(float(value)):
        return None
    return float(value)


def _window(header: Any) -> Callable[[Array], Array] | None:
    """The function of the first window, or None where there is none that has a width (PS3.3, C.11.2.1.2)."""
    import numpy as np

    center, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    function = str(header.get("VOILUTFunction") or "LINEAR").strip().upper()
    if center is None or width is None or width < (0 if function != "LINEAR" else 1) or width == 0:
        return None
    if function == "SIGMOID":
        return lambda values: scaled(1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -60, 60))), 0, 1)
    if function == "LINEAR_EXACT":
        return lambda values: scaled(values, center - width / 2, center + width / 2)
    middle = center - 0.5
    if width == 1:  # a step
        return lambda values: scaled(values > middle, 0, 1)
    return lambda values: scaled(values, middle - (width - 1) / 2, middle + (width - 1) / 2)


def _voi_lut(header: Any) -> Callable[[Array], Array] | None:
    """The function of the first VOI LUT, black and white being its least and greatest entry, or None without one."""
    import numpy as np

    items = header.get("VOILUTSequence")
    if not items:
        return None
    entries, first, _ = items[0].LUTDescriptor
    entries, data = int(entries) or 1 << 16, items[0].LUTData
    if isinstance(data, bytes):  # as words; bytes only where there are too few for words
        order = "<" if header.original_encoding[1] else ">"
        table = np.frombuffer(data, np.uint8 if len(data) < 2 * entries else f"{order}u2")[:entries]
    else:
        table = np.atleast_1d(np.asarray(data))[:entries]
    if not table.size:
        return None
    ends = float(table.min()), float(table.max())

    def shown(values: Array) -> Array:
        at = np.clip(np.rint(values - int(first)), 0, table.size - 1).astype(np.int64)
        return scaled(table[at], *ends)

    return shown


def _square(gray: Array, header: Any) -> Array:
    """The image with square pixels; of pixels that are not, the longer side is given more of them."""
    import numpy as np
    from PIL import Image

    ratio = _height_to_width(header)
    if abs(ratio - 1) <= _SAME or not 1 / _ABSURD <= ratio <= _ABSURD:
        return gray
    height, width = gray.shape
    size = (width, round(height * ratio)) if ratio > 1 else (round(width / ratio), height)
    return np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BICUBIC))


def _height_to_width(header: Any) -> float:
    """The height of a pixel by its width: its aspect ratio, or the spacing of rows by that of columns; 1 if unknown."""
    for name in ("PixelAspectRatio", *_SPACINGS):
        value = header.get(name)
        if value is not None and not isinstance(value, str) and len(value) == 2:
            rows, columns = _first(value[0]), _first(value[1])
            if rows and columns and rows > 0 and columns > 0:
                return rows / columns
    return 1.0


def check_photometric(header: Any) -> None:
    """Raises: DropStudyError for an image that is neither gray nor RGB of 8 bits, such as one with a palette."""
    kind, samples = header.PhotometricInterpretation, int(header.get("SamplesPerPixel", 1))
    if kind in MONOCHROME and samples == 1:
        return
    if kind not in COLOR or samples != 3 or int(header.BitsStored) > _AS_THEY_ARE_BITS:
        raise DropStudyError("dicom_not_supported_color")
