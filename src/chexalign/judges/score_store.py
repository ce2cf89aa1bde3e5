"""Judgements that outlive a run: kept by content beside the runs, so that a dear judge is asked once about a text."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexalign import atomic, ids
from chexalign.errors import UserError
from chexalign.judges.base import Judge, Judgement, TextPair
from chexalign.judges.guard import guarded

if TYPE_CHECKING:
    import pyarrow as pa

IDENTITY = "identity.json"
_KEY_LENGTH = 32
BLOCK = 64  # pairs that are written together; a killed process loses at most those that it is at
_LASTING = ("ok", "unparsed")  # what a judge would say again; failures are tried again


def pair_key(pair: TextPair) -> str:
    """The key of a pair: equal texts have an equal one."""
    return ids.digest(pair.candidate, pair.reference, length=_KEY_LENGTH)


class ScoreStore:
    """The judgements of one judge, in a folder of `root` that is named by the digest of `identity`.

    `identity` spells out all that a judgement depends on beside the texts, and lies in the folder as JSON. A file is
    whole or absent and named by the digest of its bytes and its number of rows: files are added, never changed, by
    several processes and threads at once, and one that is damaged is put aside, so that its rows are made again.
    Memory: about 200 bytes per judgement from the first look-up on; those asked for are read from their files.
    Raises: UserError when the folder says that it belongs to another judge.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any]) -> None:
        self.folder = root / ids.digest(identity)
        self.damaged: dict[str, int] = {}  # rows of each file that was put aside, by its name
        self._where: dict[str, tuple[str, int]] = {}  # key -> file and row
        self._seen: set[str] = set()
        self._lock = threading.RLock()
        if (self.folder / IDENTITY).exists():
            _check(self.folder, identity)
        else:
            atomic.write_json(self.folder / IDENTITY, identity)

    def get(self, keys: Iterable[str]) -> dict[str, Judgement]:
        """The judgements that are there, whoever made them; the first of several of one key stays."""
        with self._lock:
            return self._get(keys)

    def _get(self, keys: Iterable[str]) -> dict[str, Judgement]:
        self._look()
        rows: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        for key in keys:
            if key in self._where:
                name, row = self._where[key]
                rows[name].append((key, row))
        found: dict[str, Judgement] = {}
        for name, wanted in rows.items():
            table = self._read(name)
            if table is None:  # damaged since it was first looked at
                self._where = {key: place for key, place in self._where.items() if place[0] != name}
                continue
            plain = table.take([row for _, row in wanted]).to_pylist()
            found.update((key, _judgement(row)) for (key, _), row in zip(wanted, plain, strict=True))
        return found

    def put(self, judgements: Mapping[str, Judgement]) -> None:
        """Writes judgements by their keys to one file, which other processes see at their next look-up."""
        if not judgements:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        plain = [_plain(key, judgement) for key, judgement in sorted(judgements.items())]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(plain, schema=_schema()), sink)
        data = sink.getvalue().to_pybytes()
        name = f"{ids.bytes_sha256(data)[:_KEY_LENGTH]}-{len(plain)}.parquet"
        atomic.write_bytes(self.folder / name, data)
        with self._lock:
            self._seen.discard(name)  # it is read at the next look-up, also where a damaged one lay before

    def _look(self) -> None:
        """Takes up the files that are new."""
        with os.scandir(self.folder) as entries:
            names = {entry.name for entry in entries if entry.name.endswith(".parquet")}
        for name in sorted(names - self._seen):
            self._seen.add(name)
            table = self._read(name)
            for row, key in enumerate(table.column("key").to_pylist() if table is not None else ()):
                self._where.setdefault(key, (name, row))

    def _read(self, name: str) -> pa.Table | None:
        """The rows of a file; None, and the damage noted, when it does not hold the bytes that it was written with."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            data = (self.folder / name).read_bytes()
        except OSError:
            data = b""
        if name.partition("-")[0] != ids.bytes_sha256(data)[:_KEY_LENGTH]:
            number = Path(name).stem.rpartition("-")[2]
            self.damaged[name] = int(number) if number.isdecimal() else 0
            with contextlib.suppress(OSError):  # gone, or put aside by another process
                (self.folder / name).rename(self.folder / f"{name}.damaged")
            return None
        return pq.read_table(pa.BufferReader(data))


class StoredJudge:
    """A judge that asks another only about texts that the store does not hold, each distinct pair once.

    What it is told is stored in blocks of 64 as it comes; only what the judge would say again is (ok, unparsed), so a
    failure is tried again. As many threads may ask as the judge inside allows.
    """

    def __init__(self, judge: Judge, root: Path, options: Mapping[str, Any]) -> None:
        """`options` are those that can change a score; the store's folder is made at the first score."""
        self.judge, self._root, self._options = judge, root, dict(options)
        self._lock = threading.Lock()
        self._store: ScoreStore | None = None
        self._here = threading.local()

    @property
    def calls(self) -> Counter[str]:
        """Distinct pairs that this thread asked about: `computed` by the judge, and `stored`, found in the store."""
        if not hasattr(self._here, "calls"):
            self._here.calls = Counter()
        calls: Counter[str] = self._here.calls
        return calls

    @cached_property
    def name(self) -> str:
        """The name of the judge inside."""
        return self.judge.name

    @cached_property
    def version(self) -> str:
        """The version of the judge inside."""
        return self.judge.version

    @property
    def damaged(self) -> dict[str, int]:
        """Rows of each file of the store that was found damaged, by its name."""
        return dict(self._store.damaged) if self._store else {}

    @property
    def store(self) -> ScoreStore:
        """Where its judgements are kept; asking for the judge's name can start a child, so it is made when needed."""
        with self._lock:
            if self._store is None:
                identity = {"judge": self.name, "version": self.version, "options": self._options}
                self._store = ScoreStore(self._root, identity)
            return self._store

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """One judgement per pair, in order; a pair on which the judge fails is an error, see `guarded`."""
        keys = [pair_key(pair) for pair in pairs]
        distinct = dict(zip(keys, pairs, strict=True))
        found = self.store.get(distinct)
        self.calls["stored"] += len(found)
        missing = [key for key in distinct if key not in found]
        for start in range(0, len(missing), BLOCK):
            block = missing[start : start + BLOCK]
            judged = dict(zip(block, guarded(self.judge, [distinct[key] for key in block]), strict=True))
            self.store.put({key: j for key, j in judged.items() if j.status in _LASTING})
            self.calls["computed"] += len(block)
            found.update(judged)
        return [found[key] for key in keys]


def _schema() -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            ("key", text),
            ("value", pa.float64()),
            ("parts", pa.map_(text, pa.float64())),
            ("status", text),
            ("reason", text),
            ("notes", pa.map_(text, text)),
        ]
    )


def _plain(key: str, j: Judgement) -> dict[str, Any]:
    parts, notes = list(j.parts.items()), list(j.notes.items())
    return {"key": key, "value": j.value, "parts": parts, "status": j.status, "reason": j.reason, "notes": notes}


def _judgement(row: dict[str, Any]) -> Judgement:
    return Judgement(row["value"], dict(row["parts"]), row["status"], row["reason"], dict(row["notes"]))


def _check(folder: Path, identity: Mapping[str, Any]) -> None:
    try:
        there = atomic.read_json(folder / IDENTITY)
    except (OSError, ValueError):
        there = None
    if there != identity:
        raise UserError(
            f"The score store {folder} belongs to another judge than {identity['judge']}@{identity['version']}.",
            f"Its {IDENTITY} does not spell out what its name stands for, so its scores may be those of another.",
            "Delete that folder; what is needed of it is scored again.",
        )
