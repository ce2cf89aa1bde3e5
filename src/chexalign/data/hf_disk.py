"""A Hugging Face dataset on disk, with its images inside: what `save_to_disk` writes, or Parquet shards.

Its columns are told as those of a table of one's own are; its splits are those that it was saved with. Images inside it
are written into the run once, named by their content. The library datasets is not needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chexalign import atomic, ids
from chexalign.data.base import DropStudyError
from chexalign.data.hf_shards import SOURCE, Shard, columns_of, find_shards, image_cell, read_shard
from chexalign.data.images import image_ref
from chexalign.data.layout import inside, need_root
from chexalign.data.table import Table
from chexalign.data.table_rows import TableRow, studies_of
from chexalign.errors import UserError
from chexalign.types import ImageRef, View

# Between a shard and the place of an image in it: a row, and the image's number in its cell.
_MARK = "#row="

_STARTS = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg"}
_DICOM_AT, _DICOM = 128, b"DICM"


@dataclass(frozen=True, kw_only=True)
class HFDisk(Table):
    """The studies of a Hugging Face dataset on disk, split by patient; `root` is its folder."""

    source = SOURCE

    def _read(self) -> tuple[dict[str, TableRow], Counter[str]]:
        root = need_root(self.root, SOURCE, "dataset_dict.json, state.json or *.parquet")
        return studies_of(self._rows(find_shards(root), root), self.columns, root, self.images or root)

    def _rows(self, shards: list[Shard], root: Path) -> Iterator[dict[str, Any]]:
        """Rows as a table has them: a name for each image inside, an id where there is none, and the split."""
        wanted = [getattr(self.columns, name) for name in type(self.columns).model_fields]
        numbered: Counter[str | None] = Counter()
        for shard in shards:
            names, holding = columns_of(shard.path)
            for number, row in enumerate(read_shard(shard.path, wanted)):
                at = f"{shard.path.absolute()}{_MARK}{number}"
                row |= {name: _named(row[name], at) for name in holding if name in row}
                if self.columns.id == "id" and "id" not in names:
                    row["id"] = f"{shard.split or 'row'}-{numbered[shard.split]}"
                    numbered[shard.split] += 1
                if shard.split is not None and self.columns.split not in names:
                    row[self.columns.split] = shard.split
                yield row

    def _is_there(self, path: str) -> bool:
        return _MARK in path or super()._is_there(path)

    def _image(self, path: str, view: View, images: Path) -> ImageRef:
        shard, mark, at = path.rpartition(_MARK)
        if not mark:
            return super()._image(path, view, images)
        row, _, place = at.partition(".")
        try:
            cells = image_cell(Path(shard), self.columns.images, int(row))
        except UserError:
            raise DropStudyError("image_unreadable") from None
        return self._inside(cells[int(place)], view, images)

    def _inside(self, image: Mapping[str, Any], view: View, images: Path) -> ImageRef:
        """The image of a cell: its bytes, or the file that it names where it has none."""
        data, name = image.get("bytes"), image.get("path")
        if data:
            return _written(data, view, images)
        assert self.root is not None
        if not name:
            raise DropStudyError("image_missing")
        path = inside(self.images or self.root, name)
        if path is None:
            raise DropStudyError("image_outside_the_folder")
        return image_ref(path, view, into=images)


def _named(cell: Any, at: str) -> list[str]:
    """A name for each image of a cell."""
    cells = cell if isinstance(cell, list) else [cell]
    return [f"{at}.{place}" for place, image in enumerate(cells) if image is not None]


def _written(data: bytes, view: View, images: Path) -> ImageRef:
    """The image of these bytes, which are written once; its path starts at the run folder."""
    ending = next((end for start, end in _STARTS.items() if data.startswith(start)), "")
    if data[_DICOM_AT : _DICOM_AT + len(_DICOM)] == _DICOM:
        ending = ".dcm"
    path = images / f"{ids.bytes_sha256(data)[:32]}{ending}"
    if not path.is_file():
        atomic.write_bytes(path, data)
    ref = image_ref(path, view, into=images)
    return replace(ref, path=f"{images.name}/{path.name}") if Path(ref.path) == path.absolute() else ref
