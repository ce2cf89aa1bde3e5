"""The size in a JPEG's header is the one that PIL sees, and of whatever is not plain nothing is said."""

from __future__ import annotations

import warnings
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chexalign.data.jpeg_header import plain_jpeg_size

SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))


def jpeg(size: tuple[int, int], mode: str = "L", **options: object) -> bytes:
    buffer = BytesIO()
    Image.new(mode, size).save(buffer, format="JPEG", **options)
    return buffer.getvalue()


@given(size=SIZES, mode=st.sampled_from(["L", "RGB"]), progressive=st.booleans(), comment=st.booleans())
def test_plain_files(size, mode, progressive, comment):
    more = {"comment": b"made by hand"} if comment else {}
    assert plain_jpeg_size(jpeg(size, mode, progressive=progressive, quality=40, **more)) == size


def test_what_is_not_plain_is_left_to_others():
    turned = Image.Exif()
    turned[0x0112] = 6
    assert plain_jpeg_size(jpeg((4, 5), exif=turned)) is None
    assert plain_jpeg_size(jpeg((4, 5), "CMYK")) is None
    assert plain_jpeg_size(jpeg((4, 5), icc_profile=b"profile")) is None
    png = BytesIO()
    Image.new("L", (4, 5)).save(png, format="PNG")
    assert plain_jpeg_size(png.getvalue()) is None
    assert plain_jpeg_size(b"") is None


@pytest.mark.filterwarnings("ignore")
@given(size=SIZES, at=st.floats(0, 1), new=st.binary(min_size=0, max_size=3))
def test_of_damaged_files_the_size_is_what_pil_sees_or_nothing(size, at, new):
    data = jpeg(size, "RGB")
    place = int(at * len(data))
    data = data[:place] + new + (data[place + len(new) :] if new else b"")
    found = plain_jpeg_size(data)
    if found is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with Image.open(BytesIO(data)) as image:
                    assert (image.size, image.format) == (found, "JPEG")
                    assert image.mode in ("L", "RGB")
            except (OSError, SyntaxError, ValueError):
                pass  # damage behind the size, in a table: found when the image is opened
