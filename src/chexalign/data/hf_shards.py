"""Files of a Hugging Face dataset on disk: what `save_to_disk` writes, or Parquet shards as the hub holds them.

    ROOT/dataset_dict.json, ROOT/train/state.json, ROOT/train/data-00000-of-00002.arrow       a dataset with splits
    ROOT/state.json, ROOT/data-00000-of-00002.arrow                                           one without
    ROOT/data/train-00000-of-00002.parquet                                                    or Parquet files anywhere

They are read with pyarrow alone, batch by batch, and only the columns that are asked for.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexalign.data.layout import not_there
from chexalign.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

SOURCE = "hf-disk"

_SPLIT = re.compile(r"(train|validation|valid|val|dev|test)(?![a-z])")
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of rows, and the split that its place names."""

    path: Path
    split: str | None


def find_shards(root: Path) -> list[Shard]:
    """The files of the dataset in their order.

    Raises: UserError when there are none, or the folder's own account of them cannot be read.
    """
    if (root / "dataset_dict.json").is_file():
        names = _json(root / "dataset_dict.json").get("splits")
        if isinstance(names, list) and names and all(isinstance(n, str) and Path(n).name == n for n in names):
            return [Shard(path, name) for name in names for path in _saved(root / name)]
        raise _unreadable(root / "dataset_dict.json", "no names of splits")
    if (root / "state.json").is_file():
        return [Shard(path, None) for path in _saved(root)]
    shards = [Shard(path, _named_split(root, path)) for path in sorted(root.rglob("*.parquet"))]
    if not shards:
        raise not_there(root, "dataset_dict.json, state.json or *.parquet", SOURCE)
    several = len({shard.split for shard in shards}) > 1
    return [Shard(shard.path, shard.split if several else None) for shard in shards]


def _saved(folder: Path) -> list[Path]:
    if not (folder / "state.json").is_file():
        raise not_there(folder, "state.json", SOURCE)
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        raise UserError(
            f"{folder} holds a selection of rows with a table of its own.",
            "Which rows are meant is in that table, which old versions of `datasets` wrote, and is not read here.",
            "Save it again after flatten_indices().",
        )
    listed = state.get("_data_files")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    files = [str(entry.get("filename", "")) for entry in entries]
    if not files or not all(name and Path(name).name == name for name in files):
        raise _unreadable(folder / "state.json", "no names of files")
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise not_there(folder, missing[0], SOURCE)
    return [folder / name for name in files]


def _named_split(root: Path, path: Path) -> str | None:
    """The split in the name of a file or of a folder that it is in."""
    for part in reversed(path.relative_to(root).parts):
        if found := _SPLIT.match(part.lower()):
            return found[1]
    return None


def read_shard(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a file by column, those that it has of the named ones; the bytes of images are not read.

    A cell with an image is a struct with its `path`, or a list of them. Numbers of classes become their names.
    Raises: UserError when the file is damaged.
    """
    with _told(path):
        schema = _schema(path)
        names = _class_names(schema)
        for batch in _batches(path, [name for name in schema.names if name in columns], schema):
            for row in batch.to_pylist():
                for name in names.keys() & row.keys():
                    row[name] = names[name].get(row[name]) if isinstance(row[name], int) else row[name]
                yield row


def columns_of(path: Path) -> tuple[list[str], list[str]]:
    """The columns of a file, and those of them that hold images.

    Raises: UserError when the file is damaged.
    """
    with _told(path):
        schema = _schema(path)
        return list(schema.names), [field.name for field in schema if _is_image(field.type)]


def image_cell(path: Path, column: str, row: int) -> list[dict[str, Any]]:
    """The images of one cell, each with `bytes` and `path`, either of which may be None.

    Cost: of Arrow the cell; of Parquet its whole group of rows, two of which are kept in each process.
    Raises: UserError when the file is damaged.
    """
    with _told(path):
        if path.suffix == ".arrow":
            cell = _mapped(path, column)[row].as_py()
        else:
            start, group = _group_of(path, row)
            cell = _group(path, column, group)[row - start].as_py()
    return [one or {} for one in (cell if isinstance(cell, list) else [cell])]


def _schema(path: Path) -> pa.Schema:
    import pyarrow.parquet as pq

    return _stream(path).schema if path.suffix == ".arrow" else pq.read_schema(path)


def _stream(path: Path) -> pa.RecordBatchReader:
    import pyarrow as pa

    return pa.ipc.open_stream(pa.memory_map(str(path)))


def _batches(path: Path, names: Sequence[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Batches of the named columns, of images the path alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        leaves = [f"{name}{_path_leaf(schema.field(name).type)}" for name in names]
        with pq.ParquetFile(path) as table:
            yield from table.iter_batches(_ROWS_AT_ONCE, columns=leaves)
        return
    for batch in _stream(path):
        batch.validate()
        arrays = [_without_bytes(batch.column(name)) for name in names]
        kept = pa.RecordBatch.from_arrays(arrays, names=list(names))
        kept.validate(full=True)  # Arrow trusts its files: a damaged offset would be followed out of the memory
        yield kept


def _is_image(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_struct(kind)) and {field.name for field in kind} == {"bytes", "path"}


def _path_leaf(kind: pa.DataType) -> str:
    """How Parquet calls the path inside an image column."""
    import pyarrow as pa

    if not _is_image(kind):
        return ""
    return ".path" if pa.types.is_struct(kind) else f".list.{kind.value_field.name}.path"


def _without_bytes(array: pa.Array) -> pa.Array:
    import pyarrow as pa

    if not _is_image(array.type):
        return array
    if pa.types.is_struct(array.type):
        return pa.StructArray.from_arrays([array.field("path")], names=["path"], mask=array.is_null())
    inner = _without_bytes(array.values)
    return type(array).from_arrays(array.offsets, inner, mask=array.is_null())


def _class_names(schema: pa.Schema) -> dict[str, dict[Any, str]]:
    """What the numbers of class columns stand for, by column; the schema's metadata tells."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: dict(enumerate(feature["names"]))
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


@lru_cache(maxsize=8)
def _mapped(path: Path, column: str) -> pa.ChunkedArray:
    found = _stream(path).read_all().column(column)  # mapped, not read
    found.validate(full=True)
    return found


@lru_cache(maxsize=8)
def _group_starts(path: Path) -> tuple[int, ...]:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    return tuple(accumulate((metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)), initial=0))


def _group_of(path: Path, row: int) -> tuple[int, int]:
    """The first row and the number of the group that a row is in."""
    starts = _group_starts(path)
    group = bisect_right(starts, row) - 1
    return starts[group], group


@lru_cache(maxsize=2)
def _group(path: Path, column: str, group: int) -> pa.ChunkedArray:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        return table.read_row_group(group, columns=[column]).column(0)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise _unreadable(path, type(e).__name__) from e
    if not isinstance(value, dict):
        raise _unreadable(path, "no object")
    return value


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of a damaged file as a UserError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, LookupError, ValueError, TypeError) as e:  # some of it damages text or counts
        raise _unreadable(path, type(e).__name__) from e


def _unreadable(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} cannot be read ({why}).",
        f"The dataset {SOURCE} is what `save_to_disk` of the library datasets writes, or whole Parquet files.",
        "Download or save it again.",
    )
