"""Small DICOM files made by hand, native and compressed."""

from __future__ import annotations

import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

COMPRESSED = {  # what GDCM can write: its name of the transfer syntax
    "JPEG lossless": "JPEGLosslessProcess14_1",
    "JPEG 2000": "JPEG2000Lossless",
    "JPEG-LS": "JPEGLSLossless",
    "RLE": "RLELossless",
}


def ramp(bits: int = 12, *, signed: bool = False, height: int = 40, width: int = 33) -> np.ndarray:
    """Pixels in which every level of so many bits may occur."""
    y, x = np.mgrid[:height, :width]
    levels = (x * 37 + y * 211) % (1 << bits)
    kind = np.dtype(np.uint8 if bits <= 8 else np.uint16)
    if signed:
        return (levels - (1 << (bits - 1))).astype(np.int8 if kind.itemsize == 1 else np.int16)
    return levels.astype(kind)


def dataset(pixels: np.ndarray | None, *, bits: int = 12, **fields: Any) -> Any:
    """A dataset with these pixels, whose other fields are as given by keyword; a field of None is left out."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3"
    ds.PhotometricInterpretation = "MONOCHROME2"
    if pixels is not None:
        ds.Rows, ds.Columns = pixels.shape[:2]
        ds.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
        ds.BitsAllocated = 8 * pixels.dtype.itemsize
        ds.BitsStored, ds.HighBit = bits, bits - 1
        ds.PixelRepresentation = int(pixels.dtype.kind == "i")
        ds.PixelData = pixels.tobytes()
        ds["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for name, value in fields.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    return ds


def item(**fields: Any) -> Any:
    """A dataset without more than these fields, as the items of sequences are."""
    from pydicom.dataset import Dataset

    ds = Dataset()
    for name, value in fields.items():
        setattr(ds, name, value)
    return ds


def as_bytes(ds: Any) -> bytes:
    """The dataset as a file."""
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def compressed(data: bytes, name: str) -> bytes:
    """The file with its pixels compressed without loss; `name` is a key of COMPRESSED."""
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before", Path(folder) / "after"
        before.write_bytes(data)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(before))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, COMPRESSED[name])))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(after))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return after.read_bytes()
