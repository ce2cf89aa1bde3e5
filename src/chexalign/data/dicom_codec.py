"""Decodes compressed DICOM pixels in a process of its own, which a damaged file may kill.

The codecs are C++ that trusts what a file says of itself: some files with a few changed bytes end the process that
decodes them. So one process decodes for another, image after image, and is started again when it has died.
Both ways a message is its length (8 bytes) and its bytes: a DICOM file one way; the other way its stored values in the
format of numpy.save, or nothing where there are none.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from io import BytesIO
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from chexalign.data.pixels import Array

SECONDS = 120.0  # a radiograph takes one
_MEMORY_BYTES = 8 * 2**30  # of addresses; a damaged header can ask for any amount
_LENGTH = struct.Struct("<Q")


class Codec:
    """The decoding process, started when it is first needed and ended with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._of = 0

    def stored_values(self, data: bytes) -> Array | None:
        """The stored values of a DICOM file, or None where it cannot be decoded, is damaged, or takes too long."""
        import numpy as np

        with self._lock:
            process = self._running()
            timer = threading.Timer(SECONDS, process.kill)
            timer.start()
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                _send(process.stdin, data)
                answer = _receive(process.stdout)
            except OSError:  # it has died
                answer = None
            finally:
                timer.cancel()
            if answer is None:
                self._end()
        return np.load(BytesIO(answer), allow_pickle=False) if answer else None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._of != os.getpid():  # a fork shares its parent's pipes
            self._of = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what codecs and readers say may quote the header
            )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


CODEC = Codec()


def _send(to: IO[bytes], data: bytes) -> None:
    to.write(_LENGTH.pack(len(data)))
    to.write(data)
    to.flush()


def _receive(source: IO[bytes]) -> bytes | None:
    """The next message, or None at the end."""
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = source.read(length)
    return data if len(data) == length else None


def _decoded(data: bytes) -> bytes:
    import numpy as np
    from pydicom import dcmread

    buffer = BytesIO()
    try:
        np.save(buffer, dcmread(BytesIO(data), force=True).pixel_array, allow_pickle=False)
    except Exception:  # readers and codecs raise whatever they like
        return b""
    return buffer.getvalue()


def main() -> None:
    """Answers until its standard input ends."""
    import resource

    with suppress(ValueError, OSError):  # some systems know no such limit, or have a lower one
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its memory holds a patient's header
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # codecs print there
    while (data := _receive(sys.stdin.buffer)) is not None:
        _send(answers, _decoded(data))


if __name__ == "__main__":
    main()
