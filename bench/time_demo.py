"""Run the demo and note what it cost: wall minutes and peak memory of the whole process tree.

    python bench/time_demo.py runs/demo
    python bench/time_demo.py runs/demo-seed12 --set seed=12
    python bench/time_demo.py runs/demo -- chexalign run demo

The folder is the run's; what stands after `--` replaces the command. The account goes to timing.json in that folder,
one entry per call: a run that was interrupted and taken up again cost the sum of its calls, and an entry is written
while the command runs, so that even a killed call is counted. A call that finds the run finished, or that is refused
(exit code 2), leaves the account as it was. Building the environment is not part of it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from chexalign import atomic

ROOT = Path(__file__).resolve().parent.parent
TIMING = "timing.json"
EVERY_SECONDS, WRITE_EVERY_SECONDS = 0.5, 10.0
_REFUSED = 2
_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)


def memory_bytes(process: psutil.Process) -> int:
    """Proportional memory of a process, where shared pages are counted once over all; resident memory elsewhere."""
    with contextlib.suppress(OSError):
        found = _PSS.search(Path(f"/proc/{process.pid}/smaps_rollup").read_bytes())
        if found:
            return 1024 * int(found[1])
    return int(process.memory_info().rss)


def tree_bytes(root: psutil.Process) -> int:
    """Memory of a process and of everything it started; a process that ends meanwhile counts nothing."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += memory_bytes(process)
    return total


def commit() -> str:
    """The commit of the source tree, with -dirty where files under version control differ from it."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def machine() -> dict[str, Any]:
    """What the times depend on; nothing that names the machine."""
    model = None
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        model = found[1] if found else None
    return {
        "cpu": model or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.system(),
    }


def read_calls(folder: Path) -> list[dict[str, Any]]:
    """The calls noted so far."""
    path = folder / TIMING
    calls: list[dict[str, Any]] = atomic.read_json(path)["calls"] if path.is_file() else []
    return calls


def write_calls(folder: Path, calls: list[dict[str, Any]]) -> None:
    """Writes the account, whole or not at all."""
    account = {
        "minutes": sum(call["minutes"] for call in calls),
        "peak_mb": max((call["peak_mb"] for call in calls), default=0.0),
        "exit_code": calls[-1]["exit_code"] if calls else None,
        "calls": calls,
    }
    atomic.write_json(folder / TIMING, account)


@contextlib.contextmanager
def passing_signals(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ctrl-C reaches the child by itself; SIGTERM is passed on. Either way the child decides how to end."""
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    before[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def timed(command: list[str], folder: Path) -> int:
    """The exit code of the command, after its cost has been added to the folder's account."""
    calls, started_there = read_calls(folder), any(folder.rglob("manifest.json"))
    finished_before = (folder / "estimates.json").is_file()
    call: dict[str, Any] = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 2),
        # Work of calls that nobody timed makes the sum too small.
        "untimed_work": started_there and not calls,
        "minutes": 0.0,
        "peak_mb": 0.0,
        "exit_code": None,
    }
    began = written = time.monotonic()
    child = subprocess.Popen(command)
    with passing_signals(child):
        tree = psutil.Process(child.pid)
        while child.poll() is None:
            call["peak_mb"] = max(call["peak_mb"], tree_bytes(tree) / 1e6)
            call["minutes"] = (time.monotonic() - began) / 60
            if not finished_before and time.monotonic() - written > WRITE_EVERY_SECONDS:
                written = time.monotonic()
                write_calls(folder, [*calls, call])
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(EVERY_SECONDS)
    call |= {"minutes": (time.monotonic() - began) / 60, "exit_code": child.returncode}
    if child.returncode == _REFUSED:
        write_calls(folder, calls) if calls else (folder / TIMING).unlink(missing_ok=True)
    elif not finished_before:
        write_calls(folder, [*calls, call])
    print(f"timed: {call['minutes']:.1f} min, peak {call['peak_mb']:.0f} MB", file=sys.stderr)
    return child.returncode


def main() -> int:
    """Run, watch, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the run's folder, e.g. runs/demo")
    parser.add_argument("--recipe", default="demo", help="the recipe (default: demo)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a value of the recipe")
    parser.add_argument("command", nargs="*", help="after `--`: the whole command, instead of `chexalign run`")
    args = parser.parse_args()
    command = args.command
    if not command:
        command = [sys.executable, "-m", "chexalign.cli.main", "run", args.recipe, "--runs", str(args.folder.parent)]
        for setting in (*args.set, f"run={args.folder.name}"):
            command += ["--set", setting]
    return timed(command, args.folder)


if __name__ == "__main__":
    sys.exit(main())
