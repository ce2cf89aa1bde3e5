"""Reference log-probs that outlive a run: stored by content, shared by all runs of a folder and by sweeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from chexalign import atomic, ids
from chexalign.errors import UserError
from chexalign.store import Table

IDENTITY = "identity.json"
_KEY_LENGTH = 32


@dataclass(frozen=True, slots=True)
class CachedLogp:
    """The log-prob of one completion after one prompt, in nats, end token included."""

    key: str
    sum_logp: float  # holds the float32 that was computed, exactly
    n_tokens: int


def value_keys(
    prompt_ids: Sequence[int], image_sha256s: Sequence[str], completions: Iterable[Sequence[int]]
) -> list[str]:
    """The key of each completion of one prompt: equal tokens after equal tokens and image bytes have an equal key."""
    context = ids.digest(prompt_ids, image_sha256s, length=_KEY_LENGTH)
    return [ids.digest(context, completion, length=_KEY_LENGTH) for completion in completions]


class RefCache:
    """The values of one reference policy, in a folder of `root` that is named by the digest of `identity`.

    `identity` spells out all that a value depends on beside its key, and lies in the folder as JSON. Several processes
    may read and write at once: files are whole or absent and named by their rows, so that equal ones are one file.
    Memory: all values of the policy, about 400 bytes each, from the first look-up on.
    Raises: UserError when the folder says that it belongs to another policy.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any]) -> None:
        self.folder = root / ids.digest(identity)
        self.damaged: dict[str, int] = {}  # rows of each file that was ignored, by its name
        self._values: dict[str, CachedLogp] = {}
        self._seen: set[str] = set()
        if (self.folder / IDENTITY).exists():
            _check(self.folder, identity)
        else:
            atomic.write_json(self.folder / IDENTITY, identity)

    def get(self, keys: Iterable[str]) -> dict[str, CachedLogp]:
        """The values that are there, whoever computed them; a file that is damaged counts as absent."""
        for path in sorted(self.folder.glob("*.parquet")):
            if path.name not in self._seen:
                self._seen.add(path.name)
                self._add(path)
        return {key: self._values[key] for key in keys if key in self._values}

    def put(self, rows: Sequence[CachedLogp]) -> None:
        """Writes the rows to one file, which other processes see at their next look-up."""
        if not rows:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = sorted(rows, key=astuple)
        columns = dict(zip(CachedLogp.__slots__, zip(*map(astuple, rows), strict=True), strict=True))
        table = pa.table(columns, schema=Table(self.folder, CachedLogp).schema())
        path = self.folder / _file_name(rows)
        atomic.write_file(path, lambda temporary: pq.write_table(table, temporary))
        self._seen.discard(path.name)  # it is read at the next look-up, also where a damaged one lay before

    def _add(self, path: Path) -> None:
        rows = _rows(path)
        if rows is None:
            self.damaged[path.name] = _n_rows(path)
        else:
            self._values.update((row.key, row) for row in rows if row.key not in self._values)


def _file_name(rows: Sequence[CachedLogp]) -> str:
    """The digest of the rows and their number, by which damage is found and counted."""
    return f"{ids.digest([astuple(row) for row in rows])}-{len(rows)}.parquet"


def _n_rows(path: Path) -> int:
    number = path.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _rows(path: Path) -> list[CachedLogp] | None:
    """The rows of a file, or None when they are not those that it was written with."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = file.read().to_pydict()
        rows = [CachedLogp(*row) for row in zip(*(columns[name] for name in CachedLogp.__slots__), strict=True)]
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
    return rows if _file_name(rows) == path.name else None


def _check(folder: Path, identity: Mapping[str, Any]) -> None:
    try:
        there = atomic.read_json(folder / IDENTITY)
    except (OSError, ValueError):
        there = None
    if there == identity:
        return
    other = there if isinstance(there, dict) else {}
    names = sorted(name for name in {*identity, *other} if identity.get(name) != other.get(name))
    raise UserError(
        f"The cache of reference log-probs {folder} belongs to another model (different: {', '.join(names)}).",
        f"Its {IDENTITY} does not spell out what its name stands for: its values may be those of another reference.",
        "Delete that folder; what is needed of it is computed again.",
    )
