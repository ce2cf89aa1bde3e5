"""Runs a script in another Python environment, row by row of JSON: this file is started there, by its path.

It needs nothing but Python 3.8 or later; this package need not be installed there. The script defines
`make(**options)`, which returns an object with `name`, `version` and `score(rows)`: a list of JSON objects for a list
of JSON objects, as many and in order. `make` should be quick, and weights be loaded when `score` is first called.

Lines out: {"name", "version", "python"} once, or {"failed"}; then {"id", "rows"} or {"id", "error"} for each line
{"id", "rows"} that came in. Whatever else is printed there goes to stderr.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any


def main() -> None:
    """Serves until stdin ends: `python child_runner.py SCRIPT OPTIONS`."""
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what libraries print is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business, whose end is seen below
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()

    def say(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    try:
        judge = load(sys.argv[1]).make(**json.loads(sys.argv[2]))
        name, version = str(judge.name), str(judge.version)
    except Exception as e:  # no report has been seen yet, so the message is told
        traceback.print_exc()
        say({"failed": (type(e).__name__ + ": " + str(e))[:300]})
        return
    say({"name": name, "version": version, "python": sys.version.split()[0]})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            rows = list(judge.score(request["rows"]))
            if len(rows) != len(request["rows"]):
                raise LookupError("rows are missing, or too many")
            answer = json.dumps({"id": request["id"], "rows": rows})
        except Exception as e:  # its message may quote a report
            traceback.print_exc()
            answer = json.dumps({"id": request["id"], "error": type(e).__name__ + place_of(e)})
        out.write(answer + "\n")
        out.flush()


def load(path: str) -> Any:
    """The script as a module; files beside it can be imported, after what is installed."""
    del sys.path[0]  # the folder of this file, whose names mean nothing there
    sys.path.append(os.path.dirname(os.path.abspath(path)))  # noqa: PTH100, PTH120 - no import more than needed
    spec = importlib.util.spec_from_file_location("child_script", path)
    if spec is None or spec.loader is None:
        raise ImportError("the script is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def place_of(error: BaseException) -> str:
    """Where an exception was raised: file and line, without the message."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""  # noqa: PTH119


def _end_with(parent: int) -> None:
    """Ends this process soon after its parent has, even in the middle of a batch."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


if __name__ == "__main__":
    main()
