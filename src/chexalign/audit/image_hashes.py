"""The stage that hashes the images of a table: their bytes, and what they look like; a second time it reads its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chexalign import ids
from chexalign.audit import phash
from chexalign.data import pixels
from chexalign.data.images import LIMITS
from chexalign.spread import PartResult
from chexalign.stage import StageKey, run_parts
from chexalign.store import MANIFEST, Table

State = Literal["whole", "missing", "changed", "unreadable", "flat"]
FOLDER = "audit/images"  # in the folder that is checked

_PER_PART = 500
_DRAFT_PX = 4 * phash.SIDE  # a JPEG is decoded at the least of its own smaller sizes that is not below this


@dataclass(frozen=True, slots=True)
class ImageHash:
    """What the file of an image was like when it was read; hashes are empty where there is nothing to hash."""

    path: str  # as the table has it
    sha256: str  # as the table has it
    state: State
    size_bytes: int
    mtime_ns: int
    coarse: bytes = b""
    signs: bytes = b""
    strong: bytes = b""


def hash_images(root: Path, name: str, images: Sequence[tuple[str, str]], *, workers: int = 1) -> list[ImageHash]:
    """The hashes of the images (path, sha256) of a table, in their order, stored in the folder of the tables.

    What was hashed before is taken up, unless size or time of a file has changed since: the part that holds it is then
    made again. Cost: one read and one decoding of every new image.
    """
    table = Table(root / FOLDER / name.replace("/", "-"), ImageHash)
    worker = HashWorker(root, images)
    key = StageKey("image_hashes", {"images": ids.digest(list(images), length=64)}, {"version": phash.VERSION}, 0)

    def made() -> list[ImageHash]:
        run_parts(table, worker, key=key, n_parts=worker.n_parts, workers=workers, label=f"hashes of {name}")
        return [row for part in range(worker.n_parts) for row in _rows(table, part)]

    rows = made()
    stale = {
        index // _PER_PART for index, row in enumerate(rows) if (row.size_bytes, row.mtime_ns) != _stamp(root, row)
    }
    if stale:
        (table.folder / MANIFEST).unlink()
        for part in stale:
            table.part_path(part).unlink()
        rows = made()
    return rows


def _rows(table: Table[ImageHash], part: int) -> Iterator[ImageHash]:
    """The rows of a part, column by column: there are many, and a flat record needs nothing else."""
    import pyarrow.parquet as pq

    columns = pq.read_table(table.part_path(part), schema=table.schema()).to_pydict()
    return map(ImageHash, *columns.values())


class HashWorker:
    """Hashes a fixed slice of images per part."""

    def __init__(self, root: Path, images: Sequence[tuple[str, str]]) -> None:
        self.root, self.images = root, images

    @property
    def n_parts(self) -> int:
        """How many parts the images fill."""
        return -(-len(self.images) // _PER_PART)

    def setup(self) -> None:
        """Nothing to load."""

    def part(self, index: int) -> PartResult[ImageHash]:
        """The hashes of one slice; a file that is not there or cannot be read has a row that says so."""
        slice_ = self.images[index * _PER_PART : (index + 1) * _PER_PART]
        return PartResult([self._hashed(path, sha256) for path, sha256 in slice_])

    def _hashed(self, path: str, sha256: str) -> ImageHash:
        row = ImageHash(path, sha256, "missing", *_stamp(self.root, path))
        try:
            if row.size_bytes > LIMITS.bytes:
                return _with(row, "unreadable")
            data = (self.root / path).read_bytes()
        except FileNotFoundError:
            return row
        except OSError:
            return _with(row, "unreadable")
        same = ids.bytes_sha256(data) == sha256
        try:
            found = _signature(data)
        except _UNREADABLE:
            return _with(row, "unreadable" if same else "changed")
        state: State = "changed" if not same else "whole" if found else "flat"
        return _with(row, state, found)


# PIL raises these at damaged files.
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError)


def _signature(data: bytes) -> phash.Signature | None:
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image:
        if image.width * image.height > LIMITS.pixels:
            raise ValueError("too many pixels")
        image.draft("L", (_DRAFT_PX, _DRAFT_PX))
        return phash.signature(pixels.to_gray(image))


def _with(row: ImageHash, state: State, found: phash.Signature | None = None) -> ImageHash:
    hashes = (found.coarse, found.signs, found.strong) if found else ()
    return ImageHash(row.path, row.sha256, state, row.size_bytes, row.mtime_ns, *hashes)


def _stamp(root: Path, image: ImageHash | str) -> tuple[int, int]:
    """Size and time of an image's file; zeros where there is none."""
    try:
        found = (root / (image if isinstance(image, str) else image.path)).stat()
    except (OSError, ValueError):
        return 0, 0
    return found.st_size, found.st_mtime_ns


def new_images(tables: Sequence[Sequence[tuple[str, str]]]) -> Iterator[list[tuple[str, str]]]:
    """The images of each table that no table before it has, each once, so that none is decoded twice."""
    known: set[tuple[str, str]] = set()
    for images in tables:
        fresh = [image for image in dict.fromkeys(images) if image not in known]
        known.update(fresh)
        yield fresh
