"""Nothing leaves the machine or its owner: switches that keep libraries offline and silent, the gate before servers.

docs/privacy.md says of each switch which library reads it and what it would do without.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import traceback

from chexalign.errors import UserError
from chexalign.ids import digest

ONLINE = "CHEXALIGN_ONLINE"  # set to 1 by a user who wants none of the switches

# Set whatever they were: libraries that fetch, count or report on their own.
SWITCHES = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "FALSE",
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
}
# Set unless they are: trackers, which send nothing but what a user told them to, and so may be told.
TRACKERS_OFF = {
    "WANDB_MODE": "disabled",
    "COMET_AUTO_LOG_DISABLE": "True",
    "CLEARML_OFFLINE_MODE": "1",
    "NEPTUNE_MODE": "offline",
    "SWANLAB_MODE": "disabled",
}
_NO_PRIVACY_MATTER = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # stages have bars of their own
    "TOKENIZERS_PARALLELISM": "false",  # its threads do not survive the fork of a worker
}


def is_online() -> bool:
    """Whether the user has said that libraries may use the network."""
    return os.environ.get(ONLINE, "").strip().lower() in ("1", "true", "yes", "on")


def go_offline() -> None:
    """Sets the environment so that no library of this process or its children reaches for a network.

    Call it before torch or transformers is imported: they read the switches when they are imported. Trackers stay off
    unless the user has set theirs. Where CHEXALIGN_ONLINE=1, switches and trackers are left as they are.
    """
    os.environ.update(_NO_PRIVACY_MATTER)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # work is spread over processes; training sets its own threads
    if is_online():
        return
    os.environ.update(SWITCHES)
    for name, value in TRACKERS_OFF.items():
        os.environ.setdefault(name, value)


def close_to_others() -> None:
    """Makes all files that this process and its children write from now on readable by their owner only.

    Libraries write files too, such as a checkpoint's, that `atomic` never sees.
    """
    os.umask(0o077)


# Terms under which everybody has the data anyway, and words that take that back. Of all others it is not known.
_OPEN = re.compile(r"cc0|cc[ -]by|creative commons|public domain|apache|mit\b|bsd|open data commons|odc", re.IGNORECASE)
_NO_RESTRICTIONS = re.compile(r"\bno restrictions\b", re.IGNORECASE)
_NOT_TO_BE_PASSED_ON = re.compile(
    r"credentialed|restricted|agreement|passed on|confidential|not stated|proprietary|internal", re.IGNORECASE
)


def may_be_passed_on(license: str) -> bool:
    """True for terms that are known to be open; those that are not known to be are taken to be closed.

    Example: `may_be_passed_on("CC BY 4.0")` and not `may_be_passed_on("terms of a challenge")`
    """
    if _NOT_TO_BE_PASSED_ON.search(license):
        return False
    return bool(_OPEN.match(license.strip()) or _NO_RESTRICTIONS.search(license))


def is_loopback(url: str) -> bool:
    """True for a server on this machine: `localhost`, or an address that no other machine answers.

    Example: `is_loopback("http://127.0.0.1:8000/v1")` and not `is_loopback("http://10.0.0.1:8000/v1")`
    """
    import ipaddress
    from urllib.parse import urlsplit

    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified


_QUOTED = re.compile(r"""(?<!\w)(["'])((?:(?!\1).)*\s(?:(?!\1).)*)\1(?!\w)""")  # on one line, as repr() writes it


def redacted(message: str) -> str:
    """A message in which everything quoted that has more than one word is replaced by its length and a digest.

    Example: `redacted("cannot read 'clear lungs'")` is `"cannot read <11 characters, f6b39528>"`
    """
    return _QUOTED.sub(lambda found: f"<{len(found[2])} characters, {digest(found[2], length=8)}>", message)


def told(error: BaseException) -> str:
    """The traceback of an unexpected error, in which its messages and those of its causes are redacted.

    Libraries quote what they choke on, and that may be a report. Code is shown as it stands.
    """
    lines = traceback.TracebackException.from_exception(error).format()
    return "".join(line if line.startswith("  File ") else redacted(line) for line in lines)


def redact_tracebacks() -> None:
    """Makes Python print the errors that nobody catches in this process as `told` tells them.

    Where a debugger or a test runner has hooks of its own, they stay.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = lambda kind, error, trace: _print(error)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda args: _print(args.exc_value)


def _print(error: BaseException | None) -> None:
    if error is not None and not isinstance(error, SystemExit):
        print(told(error), end="", file=sys.stderr)


def check_license(url: str, license: str, *, endpoint_is_mine: bool) -> None:
    """Raises: UserError for data not known to be open, when the server is neither on this machine nor the user's own.

    It is asked for every distinct license of the studies, before the first of them is sent.
    """
    if endpoint_is_mine or is_loopback(url) or may_be_passed_on(license):
        return
    raise UserError(
        f"The recipe would send studies to another machine; their license: {license}.",
        "Such data may not be passed on to third parties, as far as is known; a server that somebody else runs is one.",
        "Use a server on this machine; or, if the machine is yours to use for these data, say endpoint_is_mine: true.",
    )
