"""Libraries are kept offline and silent from the first import on; what the user has set of their own stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from chexalign.cli import main
from chexalign.errors import UserError
from chexalign.privacy import _SWITCHES, check_license, go_offline, is_loopback

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


HERE = [
    "http://127.0.0.1:8000/v1",
    "http://localhost/v1",
    "http://LOCALHOST:1",
    "http://[::1]:8000/v1",
    "http://0.0.0.0:1",
]
ELSEWHERE = [
    *("http://10.0.0.1:8000/v1", "https://api.example.org/v1", "http://localhost.example.org/v1"),
    *(
        "http://127.0.0.1@example.org/v1",
        "http://example.org/127.0.0.1",
        "http://127.0.0.1.example.org",
        "",
        "http://[",
    ),
]
CREDENTIALED = ["PhysioNet Credentialed Health Data License 1.5.0", "CheXpert research use agreement", "not stated"]


@pytest.mark.parametrize("url", HERE)
def test_a_server_on_this_machine_is_known_as_such(url):
    assert is_loopback(url)
    for license in CREDENTIALED:
        check_license(url, license, endpoint_is_mine=False)


@pytest.mark.parametrize("license", CREDENTIALED)
@pytest.mark.parametrize("url", ELSEWHERE)
def test_credentialed_data_go_to_another_machine_only_when_it_is_the_user_s(url, license):
    with pytest.raises(UserError, match="to another machine") as caught:
        check_license(url, license, endpoint_is_mine=False)
    assert len(str(caught.value).splitlines()) == 3
    check_license(url, license, endpoint_is_mine=True)


@pytest.mark.parametrize("license", ["CC BY-NC-ND 4.0", "CC0", "Apache-2.0"])
def test_open_data_may_go_to_any_server(license):
    check_license("https://api.example.org/v1", license, endpoint_is_mine=False)
