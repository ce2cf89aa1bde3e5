"""A script in a Python environment of its own: JSON lines in and out, started, watched and restarted from here."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import subprocess
import threading
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from chexalign.errors import UserError

_RUNNER = Path(__file__).with_name("child_runner.py")
# Variables that would lead the other interpreter to the packages of this one.
_NOT_PASSED_ON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")
_KEPT_LINES = 200  # of stderr
_CLOSING_S = 5.0
_FRAME = re.compile(r'^\s*File "(?:.*[/\\])?([^"/\\]+)", line (\d+)')
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning))(?::|$)")
_IMPORT = re.compile(r"^(ModuleNotFoundError: No module named '[\w.]+')$")


@dataclass(frozen=True, slots=True)
class Hello:
    """What a child says of itself once it has started."""

    name: str
    version: str
    python: str


class _FailedError(Exception):
    """A request without an answer; `alive` is whether the child could go on."""

    def __init__(self, reason: str, *, alive: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.alive = reason, alive


class Child:
    """A script that answers rows in another Python environment, started when it is first needed.

    Rows go there in batches. When the child dies, takes longer than `timeout_s` or raises, the rows of that batch are
    sent again one by one, to a new child where the old one is gone; a row that fails then too has no answer but the
    reason. After `max_deaths` deaths in a row it is not started again. What it writes to stderr is kept here, and
    told only as file names, lines and kinds of errors. It ends with this process, however that ends.
    Safe to use in several threads, which wait for each other.
    """

    def __init__(
        self,
        python: str | Path,
        script: str | Path,
        *,
        options: Mapping[str, Any] | None = None,
        batch_size: int = 32,
        start_timeout_s: float = 300.0,
        timeout_s: float = 600.0,
        max_deaths: int = 5,
    ) -> None:
        self._command = [str(Path(python).expanduser()), "-u", str(_RUNNER), str(Path(script).expanduser().absolute())]
        self._command.append(json.dumps(dict(options or {})))
        self._batch_size, self._start_timeout_s, self._timeout_s = batch_size, start_timeout_s, timeout_s
        self._max_deaths, self._deaths = max_deaths, 0
        self._lock = threading.RLock()
        self._running: tuple[_Process, Hello] | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def hello(self) -> Hello:
        """Name and version of what runs there; starts it.

        Raises: UserError when it does not start.
        """
        with self._lock:
            return self._alive()[1]

    def ask(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | str]:
        """For each row the object that the script answers, or as a text why there is none; in order.

        Raises: UserError when the child does not start, or dies again and again.
        """
        with self._lock:
            starts = range(0, len(rows), self._batch_size)
            return [found for start in starts for found in self._batch(rows[start : start + self._batch_size])]

    def close(self) -> None:
        """Ends the child, which is started again when it is needed."""
        with self._lock:
            if self._running is not None:
                self._running[0].end()
                self._running = None

    def _batch(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | str]:
        try:
            return list(self._request(rows))
        except _FailedError as e:
            if e.alive and len(rows) == 1:
                return [e.reason]
        found: list[dict[str, Any] | str] = []
        for row in rows:
            try:
                found += self._request([row])
            except _FailedError as e:
                found.append(e.reason)
        return found

    def _request(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        process = self._alive()[0]
        try:
            answer = process.exchange({"rows": list(rows)}, self._timeout_s)
            if "error" in answer:
                raise _FailedError(f"the script failed ({answer['error']})", alive=True)
            found = answer.get("rows")
            if not isinstance(found, list) or len(found) != len(rows) or not all(isinstance(r, dict) for r in found):
                raise _FailedError("the script's answer is not one object per row", alive=True)
        except _FailedError as e:
            if not e.alive:
                self._died(process, e.reason)
            raise
        self._deaths = 0
        return found

    def _died(self, process: _Process, reason: str) -> None:
        """Clears up after a child that is gone; ends the work when that was once too often."""
        process.end(kill=True)
        self._running, self._deaths = None, self._deaths + 1
        if self._deaths >= self._max_deaths:
            raise UserError(
                f"The script {Path(self._command[3]).name} failed {self._deaths} times in a row: {reason}.",
                f"It was started anew each time. {process.last_words()}",
                f"Try the environment by itself: {self._command[0]}; finished parts are kept.",
            )

    def _alive(self) -> tuple[_Process, Hello]:
        if self._running is None:
            self._running = self._start()
        return self._running

    def _start(self) -> tuple[_Process, Hello]:
        for path, what in ((self._command[0], "interpreter"), (self._command[3], "script")):
            if not Path(path).is_file():
                raise UserError(
                    f"The {what} {path} of a judge in its own environment is not there.",
                    "Its environment is made by you, apart from this one.",
                    "Make it with `python -m venv FOLDER`, install what the script needs, and name FOLDER/bin/python.",
                )
        process = _Process(self._command)
        try:
            said = process.read(self._start_timeout_s)
            if "failed" in said:
                raise _FailedError(str(said["failed"]))
            return process, Hello(*(str(said[key]) for key in ("name", "version", "python")))
        except (_FailedError, KeyError) as e:
            process.end(kill=True)
            raise UserError(
                f"The script {Path(self._command[3]).name} does not start in {self._command[0]}.",
                f"{e.reason if isinstance(e, _FailedError) else 'It said no hello'}. {process.last_words()}",
                "Install there what it needs, and see that its options are right; docs/judges.md names both.",
            ) from e


class _Process:
    """A running child: lines to it, lines from it, and the end of its stderr."""

    def __init__(self, command: Sequence[str]) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
        pipe = subprocess.PIPE
        try:
            self._popen = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        except OSError as e:
            raise UserError(
                f"The interpreter {command[0]} cannot be run ({type(e).__name__}).",
                "A judge in its own environment needs a Python that runs on this machine.",
                "Name the interpreter of the environment, e.g. FOLDER/bin/python.",
            ) from e
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._errors: deque[str] = deque(maxlen=_KEPT_LINES)
        self._n = 0
        self._threads = [
            threading.Thread(target=_pass_on, args=(self._popen.stdout, self._lines), daemon=True),
            threading.Thread(target=_keep, args=(self._popen.stderr, self._errors), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._finalizer = weakref.finalize(self, _kill, self._popen)

    def exchange(self, message: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """The answer to a message."""
        self._n += 1
        data = json.dumps({"id": self._n, **message}).encode() + b"\n"
        threading.Thread(target=self._write, args=(data,), daemon=True).start()  # a full pipe must not outlast the wait
        answer = self.read(timeout_s)
        if answer.get("id") != self._n:
            raise _FailedError("the child answered another request")
        return answer

    def read(self, timeout_s: float) -> dict[str, Any]:
        """The next line, as an object."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise _FailedError(f"the child gave no answer within {timeout_s:g} s") from None
        if line is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout=_CLOSING_S)
            raise _FailedError(f"the child ended ({_how(self._popen.returncode)})")
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise _FailedError("the child wrote a line that is no JSON object")
        return found

    def end(self, *, kill: bool = False) -> None:
        """Ends the process, gently unless `kill`, and its threads."""
        popen = self._popen
        if not kill:
            with contextlib.suppress(OSError):
                popen.stdin.close()  # type: ignore[union-attr]
            with contextlib.suppress(subprocess.TimeoutExpired):
                popen.wait(timeout=_CLOSING_S)
        _kill(popen)
        for thread in self._threads:
            thread.join(timeout=_CLOSING_S)
        self._finalizer.detach()

    def last_words(self) -> str:
        """What its stderr ends with, without any message: those can quote reports."""
        found = redacted(self._errors)
        return f"Its last words: {'; '.join(found)}." if found else "It left no traceback."

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):  # it has ended, which the reader tells
            self._popen.stdin.write(data)  # type: ignore[union-attr]
            self._popen.stdin.flush()  # type: ignore[union-attr]


def _pass_on(stream: IO[bytes], lines: queue.Queue[bytes | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _keep(stream: IO[bytes], errors: deque[str]) -> None:
    with stream:
        for line in stream:
            errors.append(line.decode("utf-8", "replace").rstrip())


def redacted(lines: Sequence[str] | deque[str]) -> list[str]:
    """The last frames and kinds of errors in the lines of a stderr; no message but the name of a missing module."""
    found = []
    for line in lines:
        if frame := _FRAME.match(line):
            found.append(f"{frame[1]}:{frame[2]}")
        elif error := _IMPORT.match(line) or _EXCEPTION.match(line):
            found.append(error[1])
    return found[-4:]


def _how(code: int | None) -> str:
    if code is None:
        return "without closing"
    return f"signal {-code}" if code < 0 else f"status {code}"


def _kill(popen: subprocess.Popen[bytes]) -> None:
    """Ends a process for good; its threads close what it wrote to."""
    if popen.poll() is None:
        popen.kill()
    popen.wait()
    with contextlib.suppress(OSError, ValueError):
        popen.stdin.close()  # type: ignore[union-attr]
