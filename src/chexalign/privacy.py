"""Nothing leaves the machine: switches that keep libraries offline and silent, and the gate before remote servers."""

from __future__ import annotations

import os
import re

from chexalign.errors import UserError

_SWITCHES = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # nor this: stages have bars of their own
    "TOKENIZERS_PARALLELISM": "false",  # no privacy matter: its threads do not survive the fork of a worker
}


def go_offline() -> None:
    """Sets the environment so that no library of this process or its children reaches for a network.

    Call it before torch or transformers is imported: they read the switches when they are imported.
    Experiment tracking stays off unless WANDB_MODE is already set by the user.
    """
    os.environ.update(_SWITCHES)
    os.environ.setdefault("WANDB_MODE", "disabled")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # work is spread over processes; training sets its own threads


# Terms under which data may be used by whom they were given to, and may not be passed on; or no terms at all.
_NOT_TO_BE_PASSED_ON = re.compile(
    r"credentialed|restricted|chexpert|use agreement|passed on|confidential|not stated", re.IGNORECASE
)


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


def check_license(url: str, license: str, *, endpoint_is_mine: bool) -> None:
    """Raises: UserError for data that may not be passed on, when the server is not on this machine nor the user's own.

    It is asked for every distinct license of the studies, before the first of them is sent.
    """
    if endpoint_is_mine or is_loopback(url) or not _NOT_TO_BE_PASSED_ON.search(license):
        return
    raise UserError(
        f"The recipe would send studies to another machine; their license: {license}.",
        "Such data may not be passed on to third parties, and a server that somebody else runs is one.",
        "Use a server on this machine; or, if the machine is yours to use for these data, say endpoint_is_mine: true.",
    )
