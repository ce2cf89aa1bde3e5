"""Rules for every test: warnings are errors, no network, one thread, own run folders."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch and numpy are imported: two cores shared by several processes are slower than one thread each.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_DATASETS_OFFLINE="1", MPLBACKEND="Agg")

# Others' warnings that we can do nothing about, each with the package it comes from.
THIRD_PARTY_WARNINGS = [
    "ignore::DeprecationWarning:torch.*",
    "ignore::FutureWarning:transformers.*",
    "ignore:.*pin_memory.*no accelerator.*:UserWarning",
]

_LOOPBACK = ("127.", "::1", "localhost")

# A slow machine is no failed test, and the same examples run everywhere.
settings.register_profile("chexalign", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("chexalign")


def pytest_configure(config: pytest.Config) -> None:
    """Makes warnings errors, here rather than in pyproject.toml so that the exceptions stand beside their reasons."""
    for line in ("error", *THIRD_PARTY_WARNINGS):
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for a host other than this one fails."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else address
        local = self.family == getattr(socket, "AF_UNIX", None) or str(host).startswith(_LOOPBACK)
        if not local:
            raise AssertionError(f"a test tried to reach {host}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def runs_folder(tmp_path: Path) -> Path:
    """An empty folder for runs that is the test's own."""
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder
