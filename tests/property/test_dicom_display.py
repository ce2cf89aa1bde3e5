"""Stored values come out as pydicom shows them, whatever their depth, sign, rescale and window."""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chexalign.data import dicom
from tests.dicoms import as_bytes, dataset, ramp

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: no DICOM images")

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
stored = st.tuples(st.integers(9, 16), st.booleans(), st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
number = st.integers(-4000, 4000).map(lambda tenths: tenths / 10)


@given(stored, number, st.integers(1, 40).map(lambda tenths: tenths / 10), number, st.floats(2, 5000), st.data())
def test_windows(kind, center, slope, intercept, width, data):
    bits, signed, photometric = kind
    function = data.draw(st.sampled_from(FUNCTIONS))
    pixels = ramp(bits, signed=signed)
    window = {"WindowCenter": f"{center:.2f}", "WindowWidth": f"{width:.2f}", "VOILUTFunction": function}
    rescale = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    ds = dataset(pixels, bits=bits, PhotometricInterpretation=photometric, **window, **rescale)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    shown = _by_pydicom(as_bytes(ds))
    assume(shown.min() < shown.max())  # else the window shows nothing and is left aside
    low, high = low * slope + intercept, high * slope + intercept
    expected = np.rint((shown - low) / (high - low) * 255)
    assume(expected.min() < expected.max())
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    found, _ = dicom.read_dicom(as_bytes(ds), most_pixels=10**6)
    assert np.abs(found - expected).max() <= 1


@given(stored, st.integers(0, 400), st.integers(1, 9))
def test_without_a_window_order_is_kept_and_the_range_used(kind, offset, divisor):
    bits, signed, photometric = kind
    pixels = ramp(bits, signed=signed) // divisor + min(offset, (1 << bits) // 4)
    ds = dataset(pixels, bits=bits, PhotometricInterpretation=photometric)
    found, _ = dicom.read_dicom(as_bytes(ds), most_pixels=10**6)
    values = _by_pydicom(as_bytes(ds)).ravel()  # a sum beyond the bits wraps around
    gray = 255 - found.ravel().astype(int) if photometric == "MONOCHROME1" else found.ravel().astype(int)
    assert (found.min(), found.max()) == (0, 255)
    assert (np.diff(gray[np.argsort(values, kind="stable")]) >= 0).all()


def _by_pydicom(data: bytes) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(BytesIO(data))
        return apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds)
