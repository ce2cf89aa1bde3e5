"""Where reports, images and views of OpenI are, in the layouts of its two editions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from chexalign.data import openi
from chexalign.data.images import view_of
from chexalign.data.layout import not_there, read_columns
from chexalign.data.mesh import NOT_INDEXED
from chexalign.errors import UserError
from chexalign.types import View

VIEWS_NAME = "indiana_projections.csv"
IMAGES = ("NLMCXR_png", "images/images_normalized", "images", ".")
REPORTS = ("ecgen-radiology", "NLMCXR_reports/ecgen-radiology", "NLMCXR_reports", openi.ARCHIVE_NAME)

_KEY = re.compile(r"\d+_IM-[\d-]+")


def image_key(name: str) -> str:
    """What two editions' names of an image have in common: CXR1_1_IM-0001-3001 and 1_IM-0001-3001.dcm.png are one."""
    found = _KEY.search(name)
    return found[0] if found else name.removesuffix(".png")


def image_files(folders: Sequence[Path], source: str) -> dict[str, Path]:
    """The PNG files of the first folder that has any, by what the names of both editions have in common.

    Raises: UserError when none has any.
    """
    for folder in folders:
        if files := {image_key(path.name): path for path in sorted(folder.glob("*.png"))}:
            return files
    raise not_there(folders[0].parent, f"{folders[0].name} with the PNG images of OpenI (option images)", source)


def reports_path(root: Path, archive: Path | None, source: str) -> Path:
    """The folder or the archive of the reports.

    Raises: UserError when there is none.
    """
    for path in [archive] if archive else [root / name for name in REPORTS]:
        if path.exists():
            return path
    raise not_there(root, f"{' or '.join(REPORTS)} with the reports", source)


def coded_frontals(
    root: Path, images: Path | None, archive: Path | None, source: str
) -> tuple[list[tuple[openi.OpenIReport, Path]], Counter[str]]:
    """The reports that an indexer coded with their first frontal images, and why the others are left out.

    Raises: UserError when reports, images or views are not there.
    """
    reports = openi.read_reports(reports_path(root, archive, source), {})
    folders = [images] if images else [root / name for name in IMAGES]
    files, views = image_files(folders, source), image_views(root, source)
    found, dropped = [], Counter[str]()
    for report in reports:
        keys = [key for name, _ in report.images if (key := image_key(name)) in files]
        frontal = next((key for key in keys if views.get(key) == "frontal"), None)
        if NOT_INDEXED in report.codes or not report.codes:
            dropped["not_indexed"] += 1
        elif frontal is None:
            dropped["no_image_of_the_views" if keys else "image_missing"] += 1
        else:
            found.append((report, files[frontal]))
    return found, dropped


def image_views(root: Path, source: str) -> dict[str, View]:
    """The view of each image that is known: by the table of views, or else by the collection's DICOM headers.

    Raises: UserError when there is neither.
    """
    if (root / VIEWS_NAME).is_file():
        rows = read_columns(root / VIEWS_NAME, ("filename", "projection"), source)
        return {image_key(name): view_of(projection) for name, projection in rows}
    try:
        headers = openi.find_packaged(openi.HEADERS_NAME)
    except UserError:
        raise not_there(root, f"{VIEWS_NAME}, which says of each image whether it is frontal,", source) from None
    return {image_key(name): view_of(view) for name, view in openi.read_views(headers).items()}
