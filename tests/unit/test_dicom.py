"""DICOM images come out as pydicom's own functions show them; what cannot be shown is dropped by reason."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexalign.cli import main
from chexalign.data import dicom, dicom_codec
from chexalign.data.base import DropStudyError
from chexalign.data.dicom_header import OVERLAYS, PRIVATE, Header, count_headers, counted
from chexalign.data.images import image_ref
from chexalign.errors import UserError
from tests.dicoms import COMPRESSED, as_bytes, compressed, dataset, item, ramp

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: no DICOM images")

PLENTY = 10**6


def gray(ds) -> np.ndarray:
    return dicom.read_dicom(as_bytes(ds), most_pixels=PLENTY)[0]


def header(ds) -> Header:
    return dicom.read_dicom(as_bytes(ds), most_pixels=PLENTY)[1]


def reason(data: bytes) -> str:
    with pytest.raises(DropStudyError) as caught:
        dicom.read_dicom(data, most_pixels=PLENTY)
    return str(caught.value)


def to_255(values, low, high):
    return np.rint((np.asarray(values, float) - low) / (high - low) * 255)


def peer(ds, low=None, high=None) -> np.ndarray:
    """The image by pydicom's functions, over the whole array and over the range that they document."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = pydicom.dcmread(BytesIO(as_bytes(ds)))
        modality = apply_modality_lut(read.pixel_array, read)
        shown = apply_voi_lut(modality, read)
    low, high = (shown.min() if low is None else low), (shown.max() if high is None else high)
    out = to_255(shown, low, high)
    return 255 - out if read.PhotometricInterpretation == "MONOCHROME1" else out


WINDOW = {"WindowCenter": 1500.5, "WindowWidth": 900}
RESCALED = {"RescaleSlope": 2.5, "RescaleIntercept": -1024}
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def full_range(bits, *, signed=False, slope=1.0, intercept=0.0):
    """What pydicom scales a window to: the range of the stored bits, rescaled."""
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return low * slope + intercept, high * slope + intercept


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_windows_agree_with_pydicom(function, photometric):
    ds = dataset(ramp(12), PhotometricInterpretation=photometric, VOILUTFunction=function, **WINDOW)
    assert np.abs(gray(ds) - peer(ds, *full_range(12))).max() <= 1


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("signed", [False, True])
def test_windows_after_a_rescale_agree_with_pydicom(function, signed):
    ds = dataset(ramp(12, signed=signed), VOILUTFunction=function, **WINDOW, **RESCALED)
    ends = full_range(12, signed=signed, slope=2.5, intercept=-1024)
    assert np.abs(gray(ds) - peer(ds, *ends)).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_without_a_window_the_range_is_that_of_the_values(bits, signed, photometric):
    pixels = ramp(bits, signed=signed) // 2
    ds = dataset(pixels, bits=bits, PhotometricInterpretation=photometric)
    found = gray(ds)
    assert (found == peer(ds)).all()
    assert (found.min(), found.max()) == (0, 255)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_eight_bits_stay_as_they_are(photometric):
    pixels = ramp(8) // 3 + 20
    found = gray(dataset(pixels, bits=8, PhotometricInterpretation=photometric))
    assert (found == (255 - pixels if photometric == "MONOCHROME1" else pixels)).all()


def test_a_window_of_width_one_is_a_step():
    found = gray(dataset(ramp(12), WindowCenter=2048, WindowWidth=1))
    assert (found == np.where(ramp(12) > 2047.5, 255, 0)).all()


@pytest.mark.parametrize("window", [(2000, 0), (2000, -5), ("", ""), (90000, 10), (-90000, 10), (None, None)])
def test_a_window_that_shows_nothing_is_left_aside(window):
    fields = dict(zip(("WindowCenter", "WindowWidth"), window, strict=True)) if window != (None, None) else {}
    assert (gray(dataset(ramp(12), **fields)) == gray(dataset(ramp(12)))).all()


def test_the_first_of_several_windows_is_used():
    several = dataset(ramp(12), WindowCenter=[1000, 2000], WindowWidth=[300, 4000])
    assert (gray(several) == gray(dataset(ramp(12), WindowCenter=1000, WindowWidth=300))).all()


@pytest.mark.parametrize("kind", ["US", "OW"])
@pytest.mark.parametrize("first", [0, 100, 4000])
def test_a_voi_lut_agrees_with_pydicom(first, kind):
    table = [int(65535 * (i / 1023) ** 2) for i in range(1024)]
    data = table if kind == "US" else np.array(table, "<u2").tobytes()
    lut = item(LUTDescriptor=[1024, first, 16], LUTData=data)
    lut["LUTData"].VR = kind
    ds = dataset(ramp(12), VOILUTSequence=[lut], **WINDOW)
    assert (gray(ds) == peer(ds, 0, 65535)).all()


def test_a_voi_lut_of_bytes_for_more_values_than_a_byte_holds():
    lut = item(LUTDescriptor=[4096, 0, 8], LUTData=bytes(i // 16 for i in range(4096)))
    lut["LUTData"].VR = "OW"
    assert (gray(dataset(ramp(12), VOILUTSequence=[lut])) == ramp(12) // 16).all()


def test_a_modality_lut_agrees_with_pydicom():
    table = [(i * 7919) % 4096 for i in range(4096)]  # neither rising nor falling
    lut = item(LUTDescriptor=[4096, 0, 16], LUTData=table)
    lut["LUTData"].VR = "US"
    ds = dataset(ramp(12), ModalityLUTSequence=[lut])
    assert (gray(ds) == peer(ds)).all()


def test_a_falling_rescale_turns_black_to_white():
    ds = dataset(ramp(12), RescaleSlope=-1, RescaleIntercept=4095)
    assert (gray(ds) == peer(ds)).all()
    assert gray(ds)[0, 0] == 255


@pytest.mark.parametrize(("photometric", "padding"), [("MONOCHROME1", 4095), ("MONOCHROME2", 0)])
def test_padding_is_black_and_no_part_of_the_range(photometric, padding):
    pixels = np.full((20, 20), padding, np.uint16)
    pixels[5:15, 5:15] = 2000 + np.arange(100).reshape(10, 10)
    fields = {"PhotometricInterpretation": photometric, "PixelPaddingValue": padding}
    found = gray(dataset(pixels, **fields))
    assert found[0, 0] == 0
    assert {int(found[5:15, 5:15].min()), int(found[5:15, 5:15].max())} == {0, 255}
    assert gray(dataset(pixels, PhotometricInterpretation=photometric))[5:15, 5:15].std() < 10


def test_padding_may_be_a_range():
    pixels = ramp(12) // 2 + 1000
    pixels[:3] = 50
    pixels[3:6] = 60
    found = gray(dataset(pixels, PixelPaddingValue=60, PixelPaddingRangeLimit=50))
    assert found[:6].max() == 0
    assert (found[6:] == np.clip(to_255(pixels[6:], pixels[6:].min(), pixels[6:].max()), 0, 255)).all()


def test_an_image_of_one_value_is_black_and_thirty_two_bits_are_read():
    assert gray(dataset(np.full((4, 4), 700, np.uint16))).max() == 0
    deep = ramp(12).astype(np.uint32) * 100_000
    assert (gray(dataset(deep, bits=32)) == gray(dataset(ramp(12)))).all()


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"PixelAspectRatio": [2, 1]}, (80, 33)),
        ({"PixelAspectRatio": [1, 2]}, (40, 66)),
        ({"PixelSpacing": [0.3, 0.2]}, (60, 33)),
        ({"ImagerPixelSpacing": [0.2, 0.2]}, (40, 33)),
        ({"PixelSpacing": [0, 0]}, (40, 33)),
        ({"PixelSpacing": [100, 0.1]}, (40, 33)),
    ],
)
def test_pixels_come_out_square(fields, size):
    assert gray(dataset(ramp(12), **fields)).shape == size


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_pixels_are_those_that_were_compressed(name, signed):
    pytest.importorskip("gdcm", reason="python-gdcm is not installed: no compressed DICOM images")
    ds = dataset(ramp(12, signed=signed), **WINDOW)
    packed = compressed(as_bytes(ds), name)
    assert pydicom.dcmread(BytesIO(packed)).file_meta.TransferSyntaxUID.is_compressed
    assert (dicom.read_dicom(packed, most_pixels=PLENTY)[0] == gray(ds)).all()


def test_the_decoding_process_is_started_again_when_it_has_died():
    pytest.importorskip("gdcm", reason="python-gdcm is not installed: no compressed DICOM images")
    packed = compressed(as_bytes(dataset(ramp(12))), "JPEG lossless")
    codec = dicom_codec.Codec()
    first = codec.stored_values(packed)
    os.kill(codec._process.pid, signal.SIGKILL)
    assert codec.stored_values(packed) is None
    assert (codec.stored_values(packed) == first).all()
    assert (first == ramp(12)).all()
    codec._end()


def test_a_file_that_takes_too_long_is_given_up(monkeypatch):
    pytest.importorskip("gdcm", reason="python-gdcm is not installed: no compressed DICOM images")
    monkeypatch.setattr(dicom_codec, "SECONDS", 0.01)  # Python alone takes longer to start
    codec = dicom_codec.Codec()
    assert codec.stored_values(compressed(as_bytes(dataset(ramp(12))), "JPEG 2000")) is None


def test_a_codec_that_kills_its_process_costs_one_image():
    """GDCM dies of JPEG-LS data with fewer rows than the header says."""
    pytest.importorskip("gdcm", reason="python-gdcm is not installed: no compressed DICOM images")
    good = compressed(as_bytes(dataset(ramp(12))), "JPEG-LS")
    ds = pydicom.dcmread(BytesIO(good))
    ds.Rows = 400
    codec = dicom_codec.CODEC
    assert codec.stored_values(good) is not None
    first = codec._process
    assert reason(as_bytes(ds)) == "image_unreadable"
    assert codec._process is None
    assert first.returncode != 0
    assert dicom.read_dicom(good, most_pixels=PLENTY)[0].shape == (40, 33)


def test_colors_become_their_luma():
    rgb = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    found = gray(dataset(rgb, bits=8, PhotometricInterpretation="RGB", PlanarConfiguration=0))
    assert (found == np.asarray(Image.fromarray(rgb).convert("L"))).all()


def test_a_file_without_preamble_is_known_by_its_suffix():
    data = as_bytes(dataset(ramp(12)))
    assert dicom.is_dicom(data, "")
    assert not dicom.is_dicom(data[132:], ".png")
    assert dicom.is_dicom(data[132:], ".DCM")
    assert (dicom.read_dicom(data[132:], most_pixels=PLENTY)[0] == gray(dataset(ramp(12)))).all()


REFUSED = {
    "dicom_without_pixels": lambda: as_bytes(dataset(None)),
    "dicom_not_supported_frames": lambda: as_bytes(dataset(np.vstack([ramp(12)] * 2), Rows=40, NumberOfFrames=2)),
    "dicom_not_supported_color": lambda: as_bytes(dataset(ramp(8), bits=8, PhotometricInterpretation="PALETTE COLOR")),
    "dicom_not_supported_floats": lambda: as_bytes(
        dataset(ramp(12), PixelData=None, FloatPixelData=ramp(12).astype(np.float32).tobytes())
    ),
    "image_too_large": lambda: as_bytes(dataset(ramp(12), Rows=60000, Columns=60000)),
    "image_unreadable": lambda: as_bytes(dataset(ramp(12)))[:-100],
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_read_is_dropped_by_reason(why):
    assert reason(REFUSED[why]()) == why


def test_empty_pixels_are_none():
    assert reason(as_bytes(dataset(ramp(12), PixelData=b""))) == "dicom_without_pixels"


@pytest.mark.parametrize(("name", "bits"), [("MPEG2MPML", 8), ("JPEGExtended12Bit", 12), ("HTJ2KLossless", 12)])
def test_other_transfer_syntaxes_are_refused(name, bits):
    from pydicom.encaps import encapsulate

    if importlib.util.find_spec("pylibjpeg"):
        pytest.skip("pylibjpeg is installed, which may read it")
    ds = dataset(ramp(bits), bits=bits, PixelData=encapsulate([bytes(100)]))
    ds.file_meta.TransferSyntaxUID = getattr(pydicom.uid, name)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    assert reason(as_bytes(ds)) == "dicom_not_supported_transfer_syntax"


def test_a_deflated_file_is_refused_before_it_is_inflated():
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    ds = dataset(ramp(12))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert reason(as_bytes(ds)) == "dicom_not_supported_deflated"


def test_what_is_not_installed_is_said_in_three_lines(monkeypatch):
    find = importlib.util.find_spec
    packed = compressed(as_bytes(dataset(ramp(12))), "JPEG lossless") if find("gdcm") else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pydicom" else find(name))
    with pytest.raises(UserError, match=r"pip install 'chexalign\[dicom\]'") as caught:
        gray(dataset(ramp(12)))
    assert len(str(caught.value).splitlines()) == 3
    if packed:
        from pydicom.pixels.decoders.base import Decoder

        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gdcm" else find(name))
        monkeypatch.setattr(Decoder, "available_plugins", ())
        with pytest.raises(UserError, match="JPEG Lossless"):
            dicom.read_dicom(packed, most_pixels=PLENTY)


SECRETS = {
    "PatientName": "Doe^Canary",
    "PatientID": "CANARY-7",
    "PatientBirthDate": "19010203",
    "InstitutionName": "Canary Hospital",
    "AccessionNumber": "",
    "StationName": " ",
}


def test_identifying_fields_are_told_by_name_only(tmp_path, capfd):
    ds = dataset(ramp(12), **SECRETS, BurnedInAnnotation="YES", RequestAttributesSequence=[item(StudyID="CANARY-8")])
    ds.add_new(0x00191010, "LO", "canary of a maker")
    ds.add_new(0x60000022, "LO", "canary of an overlay")
    ds.WindowCenter = "2000"
    found = header(ds)
    named = {"PatientName", "PatientID", "PatientBirthDate", "InstitutionName", "RequestAttributesSequence", "StudyID"}
    assert set(found.identifying) == {*named, PRIVATE, OVERLAYS}
    assert (found.burned_in, found.identity_removed) == ("yes", "not stated")
    path = tmp_path / "film.dcm"
    path.write_bytes(as_bytes(ds))
    ref = image_ref(path, "frontal", into=tmp_path / "images")
    written = b"".join(p.read_bytes() for p in (tmp_path / "images").iterdir()) + ref.path.encode()
    assert b"canary" not in written.lower()
    assert b"19010203" not in written
    assert capfd.readouterr() == ("", "")


def test_odd_values_of_a_header_are_not_printed(capfd):
    data = as_bytes(dataset(ramp(12), PatientBirthDate="19010203", PatientAge="050Y"))
    data = data.replace(b"19010203", b"CANARY!!").replace(b"050Y", b"CANA")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dicom.read_dicom(data, most_pixels=PLENTY)
    assert capfd.readouterr() == ("", "")


def test_headers_are_counted_over_the_images_of_studies(tmp_path):
    refs = []
    for i, burned_in in enumerate(["YES", "NO", None]):
        fields = {"BurnedInAnnotation": burned_in} if burned_in else {}
        path = tmp_path / f"{i}.dcm"
        path.write_bytes(as_bytes(dataset(ramp(12), PatientID=f"p{i}", PatientIdentityRemoved="YES", **fields)))
        refs.append(image_ref(path, "frontal", into=tmp_path / "images"))
    plain = tmp_path / "plain.png"
    Image.new("L", (4, 4)).save(plain)
    plain.with_suffix(".json").write_text("of the user")
    counts = count_headers(tmp_path, [*refs, refs[0], image_ref(plain, "frontal")])
    assert counts.images == 3
    assert counts.burned_in == {"yes": 1, "no": 1, "not stated": 1}
    assert counts.identity_removed == {"yes": 3}
    assert counts.identifying == {"PatientID": 3}
    assert "PatientID 3" in counts.lines()[1]
    assert count_headers(tmp_path, refs[:1]).images == 1
    assert counted([]).lines() == []


def test_prepare_counts_headers_and_prints_no_value(tmp_path, capsys):
    lines = []
    for i in range(3):
        fields = {"PatientName": "Canary", "BurnedInAnnotation": "YES" if i == 0 else "NO"}
        (tmp_path / f"{i}.dcm").write_bytes(as_bytes(dataset(ramp(12) + i, **fields)))
        lines.append({"id": f"s{i}", "patient": f"p{i}", "images": f"{i}.dcm", "findings": "Clear.", "split": "test"})
    table = tmp_path / "studies.jsonl"
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    left = tmp_path / "out" / "images" / ".x.png.abc.tmp"
    left.parent.mkdir(parents=True)
    left.touch()  # by a process that was killed while it wrote
    given = ["data", "prepare", "table", "--root", str(table), "--out", str(tmp_path / "out"), "--split", "test=3"]
    assert main.main(given) == 0
    said = capsys.readouterr()
    assert "of 3 images 1 are said to have text in their pixels, 0 do not say" in said.err
    assert "PatientName 3" in said.err
    assert "Canary" not in said.err + said.out
    assert not left.exists()


SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"


def window_ends(ds) -> tuple[float, float] | None:
    """What pydicom's window spans, or None where the range is that of the values."""
    if "WindowCenter" not in ds or "VOILUTSequence" in ds:
        return None
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    return full_range(int(ds.BitsStored), signed=bool(ds.PixelRepresentation), slope=slope, intercept=intercept)


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="this pydicom ships no files")
def test_the_files_that_pydicom_ships_come_out_as_pydicom_shows_them():
    """Of scanners of many makes: signed, padded, compressed, without preamble, damaged."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    compared, dropped = 0, set()
    for path in sorted(path for path in SHIPPED.rglob("*") if path.is_file()):
        try:
            found, _ = dicom.read_dicom(path.read_bytes(), most_pixels=PLENTY * 64)
        except DropStudyError as e:
            dropped.add(str(e))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path, force=True)
            stored = ds.pixel_array
            if stored.ndim != 2 or found.shape != stored.shape or int(ds.BitsStored) <= 8:
                continue  # colors, pixels that are not square, values that stay as they are
            shown = apply_voi_lut(apply_modality_lut(stored, ds), ds)
        if shown.min() == shown.max():
            continue  # a window that shows nothing
        expected = to_255(shown, *(window_ends(ds) or (shown.min(), shown.max())))
        if ds.PhotometricInterpretation == "MONOCHROME1":
            expected = 255 - expected
        assert np.abs(found - expected).max() <= 1, path.name
        compared += 1
    assert compared >= 30
    assert {"dicom_without_pixels", "dicom_not_supported_frames", "image_unreadable"} <= dropped


REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real DICOM files are not beside the repository")
def test_real_files_agree_with_pydicom(tmp_path):
    paths = sorted(REAL.glob("*.dcm"))
    assert len(paths) == 2
    for path in paths:
        ref = image_ref(path, "frontal", into=tmp_path / "images")
        ds = pydicom.dcmread(path)
        expected = ds.pixel_array
        if ds.PhotometricInterpretation == "MONOCHROME1":
            expected = 255 - expected
        with Image.open(tmp_path / ref.path) as image:
            assert (np.asarray(image) == expected).all()
        assert (ref.height_px, ref.width_px) == (1024, 1024)
        saved = json.loads((tmp_path / ref.path).with_suffix(".json").read_text())
        assert saved["identifying"] == ["PatientID", "PatientName", "StudyDate"]
