"""No file, however damaged, ends the reading of images or leaves half an image behind."""

from __future__ import annotations

import importlib.util
import tempfile
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from chexalign.data.base import DropStudyError
from chexalign.data.images import image_ref
from tests.dicoms import as_bytes, compressed, dataset, ramp

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 33), dtype=np.uint8))
without = {name: importlib.util.find_spec(name) is None for name in ("pydicom", "gdcm")}


def picture(kind: str, **options) -> bytes:
    buffer = BytesIO()
    NOISE.save(buffer, kind, **options)
    return buffer.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@cache
def whole(kind: str) -> bytes:
    """A file of the kind that is read without complaint."""
    if kind == "deep png":
        buffer = BytesIO()
        Image.fromarray(ramp(12)).save(buffer, "PNG")
        return buffer.getvalue()
    if kind.startswith("turned "):
        return picture(kind.split()[1], exif=turned())
    if kind in ("png", "jpeg", "tiff", "bmp", "webp"):
        return picture(kind)
    fields = {"WindowCenter": 2000, "WindowWidth": 3000, "PatientName": "Doe^Jane", "PixelSpacing": [0.2, 0.1]}
    data = as_bytes(dataset(ramp(12), **fields))
    return data if kind == "dicom" else compressed(data, kind)


FILES = ("png", "jpeg", "deep png", "turned png", "turned jpeg", "tiff", "bmp", "webp")
CODED = ("JPEG lossless", "JPEG 2000", "JPEG-LS")
damage = st.tuples(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),  # bytes that are others
    st.one_of(st.none(), st.floats(0, 1)),  # where it ends
    st.booleans(),  # in its first part, where headers are
)


def damaged(data: bytes, how) -> bytes:
    changes, end, early = how
    found = bytearray(data if end is None else data[: round(end * len(data))])
    for where, value in changes:
        if found:
            found[int(where * (min(len(found), 600) if early else len(found)))] = value
    return bytes(found)


def read(data: bytes, name: str) -> None:
    """Reads the bytes as an image file; nothing but a reason may come of it, and no file but whole images."""
    with tempfile.TemporaryDirectory() as folder:
        path, images = Path(folder) / name, Path(folder) / "images"
        path.write_bytes(data)
        ref, reason = None, ""
        try:
            ref = image_ref(path, "frontal", into=images)
        except DropStudyError as e:
            reason = str(e)
        if ref is None:
            assert reason.startswith(("image_", "dicom_"))
            assert not list(images.glob("*"))
            return
        assert (ref.height_px, ref.width_px) > (0, 0)
        left = sorted(p.suffix for p in images.glob("*")) + [p.name for p in images.glob(".*")]
        assert left in ([], [".png"], [".json", ".png"])
        if left:
            with Image.open(Path(folder) / ref.path) as image:
                image.load()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=300), st.sampled_from(["", "\x89PNG\r\n\x1a\n", "\xff\xd8", "II*\0", "BM", "DICM"]), st.data()
)
def test_random_bytes(body, start, data):
    head = bytes(128) + b"DICM" if start == "DICM" else start.encode("latin-1")
    names = ["a.png", "a.jpg", "a"] + ([] if without["pydicom"] else ["a.dcm"])
    if not (without["pydicom"] and start == "DICM"):
        read(head + body, data.draw(st.sampled_from(names)))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILES), damage)
@example("png", ([], None, False))
@example("jpeg", ([], 0.5, False))
@example("deep png", ([], 0.9, False))
def test_damaged_pictures(kind, how):
    read(damaged(whole(kind), how), "a.png")


@pytest.mark.skipif(without["pydicom"], reason="pydicom is not installed: no DICOM images")
@settings(max_examples=150, deadline=None)
@given(damage)
@example(([], None, False))
@example(([], 0.5, False))
def test_damaged_dicom(how):
    read(damaged(whole("dicom"), how), "a.dcm")


@pytest.mark.skipif(any(without.values()), reason="pydicom or python-gdcm is not installed: no compressed DICOM")
@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["RLE", *CODED]), damage)
@example("JPEG-LS", ([], None, False))
def test_damaged_compressed_dicom(kind, how):
    read(damaged(whole(kind), how), "a.dcm")
