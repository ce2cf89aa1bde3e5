"""Nothing leaves the machine: the switches that keep libraries offline and silent."""

from __future__ import annotations

import os

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
