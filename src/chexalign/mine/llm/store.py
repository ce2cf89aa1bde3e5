"""Replies of a server that outlive a killed run, so that no question is asked twice."""

from __future__ import annotations

import json
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from chexalign import atomic, ids


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model wrote; `whole` is False where it was cut at the number of tokens."""

    text: str
    whole: bool


class ReplyStore:
    """Replies by keys, in files of JSON lines in a folder; a line is written when its reply comes.

    Each process adds to a file of its own, which others see when they open the folder. A line that is not what was
    written, as the last one of a killed process, is passed over. All replies are held in memory. Safe in threads.
    Cost: one line and its length in memory per reply.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = atomic.make_folder(folder)
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._replies: dict[str, Reply] = {}
        for path in sorted(folder.glob("*.jsonl")):
            for line in path.read_bytes().splitlines():
                if read := _read(line):
                    self._replies.setdefault(*read)

    def get(self, key: str) -> Reply | None:
        """The reply of that key, or None."""
        with self._lock:
            return self._replies.get(key)

    def put(self, key: str, reply: Reply) -> None:
        """Keeps a reply; the first one of a key stays."""
        line = json.dumps([_sum(key, reply), key, reply.text, reply.whole]).encode() + b"\n"
        with self._lock, atomic.explained(self.folder):
            if key in self._replies:
                return
            if self._file is None:
                path = self.folder / f"{secrets.token_hex(8)}.jsonl"
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                self._file = os.fdopen(os.open(path, flags, atomic.OWNER_ONLY_FILE), "wb")
            self._file.write(line)
            self._file.flush()
            self._replies[key] = reply

    def close(self) -> None:
        """Closes the file that was written to; a later reply begins another one."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


def _sum(key: str, reply: Reply) -> str:
    return ids.digest(key, reply.text, reply.whole, length=8)


def _read(line: bytes) -> tuple[str, Reply] | None:
    """The key and the reply of a line; None where it does not hold what was written."""
    try:
        told, key, text, whole = json.loads(line)
        reply = Reply(text, whole)
        return (key, reply) if told == _sum(key, reply) else None
    except (ValueError, TypeError, RecursionError):
        return None
