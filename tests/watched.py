"""Runs of the command line in which every process tells what connections it opens and what programs it starts."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def is_outward(event: str, told: Any) -> bool:
    """Whether something leaves this machine by an event of Python's audit, or somebody is asked for a name.

    `told` is the family and the address of a socket, or the arguments of a look-up.
    """
    import ipaddress

    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        family, address = told
        if family == 1 or address is None:  # a file, or a socket that was connected before
            return False
        host = address[0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"):
        host = told[0]
    else:
        return False
    try:
        return not ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return host not in ("localhost", "", "None")


_LOG = "CHEXALIGN_TEST_AUDIT_LOG"
# Python imports this module in every interpreter that it starts; hooks stay through forks. What leads outward is
# written down and then refused, so that a test that fails has sent nothing.
_HOOK = f"""
import os, sys
from typing import Any

{inspect.getsource(is_outward)}

log = os.open(os.environ[{_LOG!r}], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def say(event, told):
    os.write(log, ascii((os.getpid(), event, told)).encode() + b"\\n")

def hook(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"):
        told = (int(args[0].family), args[1])
    elif event.startswith(("socket.get", "subprocess.", "os.exec", "os.posix_spawn", "os.system")):
        told = [str(arg) for arg in args]
    else:
        return
    say(event, told)
    if is_outward(event, told):
        raise ConnectionRefusedError("refused by the watch of a test")

sys.addaudithook(hook)
say("start", sys.orig_argv)
os.register_at_fork(after_in_child=lambda: say("start", ["fork"]))
"""


@dataclass(frozen=True)
class Event:
    """What one process did."""

    pid: int
    kind: str
    told: Any


@dataclass(frozen=True)
class Watched:
    """A command that has ended, and what its processes did."""

    done: subprocess.CompletedProcess[str]
    events: Sequence[Event]

    def of(self, *kinds: str) -> list[Event]:
        """The events of these kinds."""
        return [event for event in self.events if event.kind in kinds]

    @property
    def outward(self) -> list[Event]:
        """Everything by which something could have left this machine."""
        return [event for event in self.events if is_outward(event.kind, event.told)]


def watched(arguments: Sequence[str], folder: Path, *, timeout: float = 300, **variables: str) -> Watched:
    """Runs `chexalign` with these arguments and variables under the hook, whose module and log go to the folder."""
    hook, log = folder / "hook", folder / "audit.log"
    hook.mkdir(parents=True)
    (hook / "sitecustomize.py").write_text(_HOOK)
    path = os.pathsep.join([str(hook), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "chexalign.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | variables | {"PYTHONPATH": path, _LOG: str(log)},
    )
    return Watched(done, [Event(*ast.literal_eval(line)) for line in log.read_text().splitlines()])
