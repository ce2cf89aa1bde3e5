"""Tables of frozen records as Parquet parts: each part atomic and checksummed, the manifest last."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from chexalign import __version__, atomic, ids
from chexalign.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

R = TypeVar("R")
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class PartInfo:
    """What is known of one written part; it lies beside the part as JSON."""

    index: int
    fingerprint: str
    sha256: str  # of the file, to find damage
    content: str  # of the rows, equal on every machine
    rows: int
    dropped: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)  # e.g. tokens, the sampler's settings


@dataclass(frozen=True, slots=True)
class Manifest:
    """The account of a finished stage; its presence is the proof that the stage is done."""

    stage: str
    fingerprint: str
    inputs: dict[str, str]
    config: dict[str, Any]
    seed: int
    rows: int
    dropped: dict[str, int]
    content: str
    seconds: float  # work, summed over parts and workers
    code_version: str = __version__
    parts: int = 1
    extra: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Writes the manifest; call it last."""
        atomic.write_json(folder / MANIFEST, dataclasses.asdict(self))

    @staticmethod
    def load(folder: Path) -> Manifest | None:
        """The manifest of a folder, or None when the stage is not done or its manifest is damaged."""
        path = folder / MANIFEST
        try:
            return Manifest(**atomic.read_json(path)) if path.is_file() else None
        except (ValueError, TypeError):
            return None


class Table(Generic[R]):
    """A folder of `part-*.parquet` files that hold records of one type."""

    def __init__(self, folder: Path, record: type[R]) -> None:
        self.folder, self.record = folder, record
        self._hints = typing.get_type_hints(record)

    def part_path(self, index: int) -> Path:
        """Where a part lies."""
        return self.folder / f"part-{index:05d}.parquet"

    def write_part(
        self,
        index: int,
        rows: Sequence[R],
        *,
        fingerprint: str,
        dropped: dict[str, int] | None = None,
        seconds: float = 0.0,
        extra: dict[str, Any] | None = None,
    ) -> PartInfo:
        """Writes one part and then its info; either is whole or absent."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        plain = [_plain(row) for row in rows]
        table = pa.Table.from_pylist(plain, schema=self.schema())
        path = self.part_path(index)
        atomic.write_file(path, lambda temporary: pq.write_table(table, temporary))
        info = PartInfo(
            index=index,
            fingerprint=fingerprint,
            sha256=ids.file_sha256(path),
            content=ids.digest(plain),
            rows=len(plain),
            dropped=dict(dropped or {}),
            seconds=seconds,
            extra=dict(extra or {}),
        )
        atomic.write_json(path.with_suffix(".json"), dataclasses.asdict(info))
        return info

    def part_info(self, index: int, *, fingerprint: str) -> PartInfo | None:
        """The info of a part that is there, whole and of this fingerprint; None when it must be (re)done."""
        path = self.part_path(index)
        try:
            info = PartInfo(**atomic.read_json(path.with_suffix(".json")))
            whole = info.fingerprint == fingerprint and ids.file_sha256(path) == info.sha256
        except (OSError, ValueError, TypeError):  # absent, or its info is damaged
            return None
        return info if whole else None

    def remove_from(self, n_parts: int) -> None:
        """Removes the parts from index `n_parts` on, which an earlier, longer table left behind."""
        for path in self.folder.glob(f"part-{'[0-9]' * 5}.*"):
            if int(path.stem.removeprefix("part-")) >= n_parts:
                path.unlink()

    def rows(self) -> list[R]:
        """All rows of a finished table, parts in order.

        Raises: UserError when the table is not finished.
        """
        return list(self.iter_rows())

    def iter_rows(self) -> Iterator[R]:
        """Rows part by part, so that memory holds one part at a time."""
        manifest = Manifest.load(self.folder)
        if manifest is None:
            raise UserError(
                f"The table {self.folder} is not finished.",
                "Its manifest.json, which is written last, is not there or is damaged.",
                "Run the stage that makes it, or `chexalign run` with the same recipe.",
            )
        for index in range(manifest.parts):
            yield from self.part_rows(index)

    def part_rows(self, index: int) -> list[R]:
        """The rows of one written part."""
        import pyarrow.parquet as pq

        revive: Callable[[Any], R] = _reviver(cast(Any, self.record))
        return [revive(row) for row in pq.read_table(self.part_path(index), schema=self.schema()).to_pylist()]

    def column(self, index: int, name: str) -> list[Any]:
        """One column of one written part; the others are not read."""
        import pyarrow.parquet as pq

        values: list[Any] = pq.read_table(self.part_path(index), columns=[name]).column(name).to_pylist()
        return values

    def info(self, index: int) -> PartInfo:
        """What is known of a written part."""
        return PartInfo(**atomic.read_json(self.part_path(index).with_suffix(".json")))

    def schema(self) -> pa.Schema:
        """The Arrow schema that follows from the record's annotations."""
        import pyarrow as pa

        return pa.schema([_arrow_field(name, hint) for name, hint in self._hints.items()])


def _plain(value: Any) -> Any:
    """What `dataclasses.asdict` gives, in a fraction of its time: records hold nothing that needs a copy."""
    kind = type(value)
    if kind not in _NAMES:
        _NAMES[kind] = tuple(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()
    if names := _NAMES[kind]:
        return {name: _plain(getattr(value, name)) for name in names}
    return tuple(map(_plain, value)) if kind is tuple else value


_NAMES: dict[type, tuple[str, ...]] = {}  # of the fields of each kind of record; empty for what is none


def merge_dropped(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Drop counts of several parts together, by reason."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


def _unwrap(hint: Any) -> tuple[Any, bool]:
    """The hint without None, and whether None was allowed."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        args = [a for a in typing.get_args(hint) if a is not type(None)]
        return args[0], True
    return hint, False


def _arrow_field(name: str, hint: Any) -> pa.Field:
    import pyarrow as pa

    inner, nullable = _unwrap(hint)
    return pa.field(name, _arrow_type(inner), nullable=nullable)


def _arrow_type(hint: Any) -> pa.DataType:
    import pyarrow as pa

    scalars = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), bytes: pa.binary()}
    if hint in scalars:
        return scalars[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return pa.string()
    if origin is tuple and args[-1] is Ellipsis:
        return pa.list_(_arrow_type(args[0]))
    if origin is tuple and args in ((str, float), (str, str)):
        return pa.struct([pa.field("name", pa.string()), pa.field("value", scalars[args[1]])])
    if dataclasses.is_dataclass(hint):
        return pa.struct([_arrow_field(n, h) for n, h in typing.get_type_hints(hint).items()])
    raise TypeError(f"no Arrow type for {hint}")


@functools.cache
def _reviver(hint: Any) -> Callable[[Any], Any]:
    """What turns a plain value back into what the hint says, made once per hint: a table has millions of values."""
    hint, _ = _unwrap(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and args[-1] is Ellipsis:
        each = _reviver(args[0])
        return lambda value: None if value is None else tuple([each(v) for v in value])
    if origin is tuple:
        return lambda value: None if value is None else tuple(value.values() if isinstance(value, dict) else value)
    if dataclasses.is_dataclass(hint):
        record, fields = cast(Any, hint), {n: _reviver(h) for n, h in typing.get_type_hints(hint).items()}
        return lambda value: None if value is None else record(**{n: f(value[n]) for n, f in fields.items()})
    return _as_is


def _as_is(value: Any) -> Any:
    return value
