"""Libraries are kept offline and silent from the first import on; what the user has set of their own stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from chexalign.cli import main
from chexalign.privacy import _SWITCHES, go_offline

IMPORTED = """
import builtins, json, os, sys
plain, seen = builtins.__import__, {}
def watched(name, *rest, **more):
    if name.split(".")[0] in ("torch", "transformers", "numpy", "huggingface_hub"):
        seen.setdefault(name.split(".")[0], [os.environ.get(key) for key in json.loads(sys.argv[1])])
    return plain(name, *rest, **more)
builtins.__import__ = watched
from chexalign.cli.main import main
assert main(["doctor"]) in (0, 1)
print(json.dumps(seen), file=sys.stderr)
"""


@pytest.fixture
def environ(monkeypatch):
    """An environment that the test may change."""
    for name in (*_SWITCHES, "WANDB_MODE", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return os.environ


def test_every_switch_is_set_whatever_it_was(environ, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    go_offline()
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        assert environ[name] == "1"
    assert environ["DO_NOT_TRACK"] == "1"
    assert (environ["WANDB_MODE"], environ["OMP_NUM_THREADS"]) == ("disabled", "1")


@pytest.mark.parametrize(("name", "value"), [("WANDB_MODE", "offline"), ("OMP_NUM_THREADS", "6")])
def test_what_the_user_chose_stays(environ, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    go_offline()
    assert environ[name] == value


def test_the_command_line_sets_them_for_every_verb(environ, capsys):
    assert main.main(["--version"]) == 0
    assert environ["HF_HUB_OFFLINE"] == "1"


def test_they_are_set_before_anything_heavy_is_imported():
    clean = {name: value for name, value in os.environ.items() if name not in _SWITCHES}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, json.dumps(list(_SWITCHES))],
        capture_output=True,
        text=True,
        check=True,
        env=clean,
    )
    seen = json.loads(done.stderr.splitlines()[-1])
    assert "torch" in seen
    assert {tuple(values) for values in seen.values()} == {tuple(_SWITCHES.values())}
