"""Where the JPEG images of MIMIC-CXR-JPG are, for collections that ask about them and ship none."""

from __future__ import annotations

from pathlib import Path

from chexalign.data.layout import not_there

LICENSE = "PhysioNet Credentialed Health Data License 1.5.0"

_FOLDERS = range(10, 20)  # p10 to p19, by the first digits of the patient


def files_folder(top: Path, source: str) -> Path:
    """The folder that holds p10 to p19, under `top` as the collection ships it or `top` itself.

    Raises: UserError when neither has any of them.
    """
    for folder in (top / "files", top):
        if any((folder / f"p{n}").is_dir() for n in _FOLDERS):
            return folder
    raise not_there(top, "files/p10 to files/p19 with the images of MIMIC-CXR-JPG (option images)", source)


def jpeg(folder: Path, patient: str, study: str, dicom: str) -> str:
    """The path of an image, by ids that are digits and, of the DICOM, letters and digits with hyphens."""
    return f"{folder}/p{patient[:2]}/p{patient}/s{study}/{dicom}.jpg"


def is_dicom_id(text: str) -> bool:
    """True for what can be the name of an image: it becomes a part of a path."""
    bare = text.replace("-", "")
    return bare.isascii() and bare.isalnum()
