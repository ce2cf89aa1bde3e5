"""Image files are referred to where they are, or decoded once; whatever is no usable image is dropped by reason."""

from __future__ import annotations

import json
import os
import stat
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexalign import ids
from chexalign.data import images as reading
from chexalign.data.base import DropStudyError
from chexalign.data.images import Limits, image_ref
from chexalign.data.layout import inside
from chexalign.data.table import Table
from chexalign.errors import UserError
from chexalign.policy.hf import open_image
from tests.dicoms import ramp

NOISE = np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)
WIDE, TALL = NOISE[:20, :].repeat(2, axis=1), NOISE


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def reason(path: Path, into: Path | None = None, **options) -> str:
    with pytest.raises(DropStudyError) as caught:
        image_ref(path, "frontal", into=into, **options)
    return str(caught.value)


def decoded(path: Path, tmp_path: Path) -> np.ndarray:
    """The pixels of an image that had to be decoded, which must be a plain gray PNG in the run."""
    ref = image_ref(path, "frontal", into=tmp_path / "images")
    assert not Path(ref.path).is_absolute()
    target = tmp_path / ref.path
    assert ids.file_sha256(target) == ref.sha256
    with Image.open(target) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (ref.width_px, ref.height_px))
        assert image.info == {}
        return np.asarray(image)


@pytest.mark.parametrize("pixels", [WIDE, TALL], ids=["landscape", "portrait"])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG", "no_suffix", "wrong.jpg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_plain_images_stay_where_they_are(tmp_path, name, mode, pixels):
    kind = "JPEG" if name.lower().endswith(("jpeg", "a.jpg")) else "PNG"
    path = saved(tmp_path / name, Image.fromarray(pixels).convert(mode), format=kind)
    ref = image_ref(path, "lateral", role="prior", into=tmp_path / "images")
    assert (ref.path, ref.sha256) == (str(path), ids.file_sha256(path))
    assert (ref.height_px, ref.width_px) == pixels.shape
    assert (ref.view, ref.role, ref.synthetic) == ("lateral", "prior", False)
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_sixteen_bits_are_scaled_by_the_range_of_the_values(tmp_path, bits):
    pixels = ramp(bits).astype(np.uint16) // 2 + 100
    path = saved(tmp_path / "deep.png", Image.fromarray(pixels))
    low, high = int(pixels.min()), int(pixels.max())
    assert (decoded(path, tmp_path) == np.rint((pixels - float(low)) / (high - low) * 255)).all()
    assert decoded(path, tmp_path).max() == 255


def test_a_deep_image_of_one_value_is_black(tmp_path):
    path = saved(tmp_path / "flat.png", Image.fromarray(np.full((5, 4), 3000, np.uint16)))
    assert decoded(path, tmp_path).max() == 0


def test_floats_with_holes_are_scaled_by_what_is_finite(tmp_path):
    pixels = np.array([[0.5, 1.0, np.nan], [2.5, np.inf, -np.inf]], np.float32)
    path = saved(tmp_path / "float.tiff", Image.fromarray(pixels))
    assert decoded(path, tmp_path).tolist() == [[0, 64, 0], [255, 255, 0]]


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_images_that_exif_turns_are_turned(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"turned.{kind}", Image.fromarray(TALL), exif=exif)
    with Image.open(path) as image:
        upright = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_270,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90,
        }[orientation]
        assert (decoded(path, tmp_path) == np.asarray(image.transpose(upright))).all()


def test_upright_exif_and_exif_that_is_none_change_nothing(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 1
    assert Path(image_ref(saved(tmp_path / "a.jpg", Image.fromarray(TALL), exif=exif), "frontal").path).is_absolute()
    broken = saved(tmp_path / "b.png", Image.fromarray(TALL), exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert Path(image_ref(broken, "frontal").path).is_absolute()


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK", "I"])
def test_odd_modes_become_gray(tmp_path, mode):
    image = Image.fromarray(NOISE).convert(mode)
    path = saved(tmp_path / {"CMYK": "odd.jpg", "I": "odd.tiff"}.get(mode, "odd.png"), image)
    found = decoded(path, tmp_path)
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB" if mode in ("P", "CMYK") else "L").convert("L"))
    assert np.abs(found.astype(int) - expected).max() <= (1 if mode == "I" else 0)


def test_what_is_transparent_is_black(tmp_path):
    pixels = np.dstack([NOISE, np.where(NOISE > 128, 255, 0).astype(np.uint8)])
    found = decoded(saved(tmp_path / "clear.png", Image.fromarray(pixels, "LA")), tmp_path)
    assert (found == np.where(NOISE > 128, NOISE, 0)).all()


@pytest.mark.parametrize("name", ["a.tiff", "a.bmp", "a.webp"])
def test_other_formats_become_png(tmp_path, name):
    path = saved(tmp_path / name, Image.fromarray(NOISE), **({"lossless": True} if name == "a.webp" else {}))
    assert (decoded(path, tmp_path) == NOISE).all()


def test_a_picture_book_and_deep_colors_are_refused(tmp_path):
    pages = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
    book = saved(tmp_path / "book.tiff", pages[0], save_all=True, append_images=pages[1:])
    moving = saved(tmp_path / "moving.png", pages[0], save_all=True, append_images=pages[1:])
    deep = tmp_path / "deep.png"
    deep.write_bytes(png(4, 3, depth=16, color=2, data=bytes((1 + 4 * 6) * 3)))
    assert {reason(path, tmp_path / "images") for path in (book, moving, deep)} == {"image_not_supported"}


def png(width: int, height: int, *, data: bytes, depth: int = 8, color: int = 0) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_a_source_is_decoded_once_and_again_when_its_image_is_damaged(tmp_path, monkeypatch):
    calls = []
    to_gray = reading.pixels.to_gray
    monkeypatch.setattr(reading.pixels, "to_gray", lambda image: calls.append(1) or to_gray(image))
    path = saved(tmp_path / "a.bmp", Image.fromarray(NOISE))
    copy = tmp_path / "copy.bmp"
    copy.write_bytes(path.read_bytes())
    first = image_ref(path, "frontal", into=tmp_path / "images")
    assert image_ref(copy, "frontal", into=tmp_path / "images") == first
    assert len(calls) == 1
    target = tmp_path / first.path
    whole = target.read_bytes()
    for damaged in (b"", whole[:50], whole[:60] + b"x" + whole[61:]):
        target.write_bytes(damaged)
        assert image_ref(path, "frontal", into=tmp_path / "images") == first
        assert target.read_bytes() == whole
    assert len(calls) == 4


def test_decoded_images_are_the_owner_s_alone(tmp_path):
    path = saved(tmp_path / "a.bmp", Image.fromarray(NOISE))
    target = tmp_path / image_ref(path, "frontal", into=tmp_path / "images").path
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700


def test_a_decoded_image_is_found_from_the_run_folder(tmp_path):
    run = tmp_path / "run"
    ref = image_ref(saved(tmp_path / "a.bmp", Image.fromarray(NOISE)), "frontal", into=run / "images")
    assert open_image(run / ref.path).size == (20, 30)


def test_where_nothing_may_be_written_what_needs_decoding_is_dropped(tmp_path):
    path = saved(tmp_path / "a.bmp", Image.fromarray(NOISE))
    assert reason(path) == "image_to_decode"
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        image_ref(path, "frontal", into=tmp_path / "images")


def test_a_large_radiograph_is_let_through_and_a_bomb_is_not(tmp_path):
    large = saved(tmp_path / "large.png", Image.new("L", (5000, 4000)))
    assert image_ref(large, "frontal").width_px == 5000
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(60000, 60000, data=bytes(60001 * 30)))
    wider = tmp_path / "wider.png"
    wider.write_bytes(png(9000, 9000, data=bytes(1000)))
    assert reason(bomb) == reason(wider) == "image_too_large"


def test_limits_are_of_bytes_and_of_pixels(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(NOISE))
    size = path.stat().st_size
    assert image_ref(path, "frontal", limits=Limits(pixels=600, bytes=size)).height_px == 30
    assert reason(path, limits=Limits(pixels=599, bytes=size)) == "image_too_large"
    assert reason(path, limits=Limits(pixels=600, bytes=size - 1)) == "image_too_large"


def test_what_is_no_image_is_dropped(tmp_path):
    whole = saved(tmp_path / "whole.jpg", Image.fromarray(NOISE)).read_bytes()
    buffer = BytesIO()
    Image.fromarray(NOISE).save(buffer, "PNG")
    bad = {
        "empty.png": b"",
        "text.png": b"The lungs are clear.\n",
        "page.jpg": b"<html>not found</html>",
        "cut.jpg": whole[:-40],
        "cut.png": buffer.getvalue()[:-40],
        "flipped.png": buffer.getvalue()[:60] + bytes([buffer.getvalue()[60] ^ 1]) + buffer.getvalue()[61:],
        "text.dcm": b"The lungs are clear.\n",
        "empty.dcm": b"",
        "marked.dcm": bytes(128) + b"DICM",
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        assert reason(tmp_path / name, tmp_path / "images") in ("image_unreadable", "dicom_without_pixels"), name
    assert not (tmp_path / "images").exists()


def test_what_is_no_file_is_dropped(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "nowhere.png").symlink_to("gone")
    for name in (".", "pipe.png", "loop.png"):
        assert reason(tmp_path / name) == "image_unreadable"
    for name in ("nowhere.png", "gone.png", "a\0b.png", "\ud800.png", "text.png/a.png"):
        (tmp_path / "text.png").touch()
        assert reason(tmp_path / name) == "image_missing"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_is_closed_to_the_user_is_unreadable(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(NOISE))
    path.chmod(0)
    assert reason(path) == "image_unreadable"


def test_no_name_and_no_link_leads_out_of_a_folder(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    (root / "sub").mkdir(parents=True)
    other.mkdir()
    (other / "a.png").touch()
    (root / "a.png").touch()
    (root / "out.png").symlink_to(other / "a.png")
    (root / "sub" / "in.png").symlink_to("../a.png")
    (root / "linked").symlink_to(other)
    (root / "loop.png").symlink_to("loop.png")
    (other / "here.png").symlink_to("a.png")
    (root / "gone.png").symlink_to("nowhere")
    for name in ("a.png", "sub/../a.png", "sub/in.png", "linked/a.png", "linked/here.png", "gone.png", "not/there.png"):
        assert inside(root, name) is not None, name
    for name in ("../other/a.png", "/a.png", "out.png", "loop.png", "sub/../../other/a.png", "", None, "a\0", "\ud800"):
        assert inside(root, name) is None, name


def test_a_root_that_is_a_link_is_no_way_out(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").touch()
    (tmp_path / "real" / "b.png").symlink_to("a.png")
    (tmp_path / "root").symlink_to("real")
    assert inside(tmp_path / "root", "b.png") == tmp_path / "root" / "b.png"


def test_a_table_counts_paths_and_links_that_lead_out(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    saved(other / "a.png", Image.fromarray(NOISE))
    saved(root / "good.png", Image.fromarray(NOISE))
    (root / "linked.png").symlink_to(other / "a.png")
    names = ["good.png", "linked.png", "../other/a.png"]
    rows = [{"id": name, "patient": name, "images": name, "findings": "Clear.", "split": "test"} for name in names]
    (root / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    items, dropped = Table(root=root / "t.jsonl", split={"test": 9}).items()
    assert [item.id for item in items] == ["good.png"]
    assert dropped == {"image_outside_the_folder": 2}


REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "images"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real radiographs are not beside the repository")
def test_real_radiographs_stay_where_they_are_and_open():
    paths = sorted(path for path in REAL.iterdir() if path.suffix in (".png", ".jpg"))
    assert len(paths) == 27
    for path in paths:
        ref = image_ref(path, "frontal")
        assert ref.path == str(path)
        assert open_image(path).size == (ref.width_px, ref.height_px)
