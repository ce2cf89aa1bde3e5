"""Libraries are kept offline and silent from the first import on; what the user has set of their own stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chexalign.cli import main
from chexalign.errors import UserError
from chexalign.privacy import (
    ONLINE,
    SWITCHES,
    TRACKERS_OFF,
    check_license,
    go_offline,
    is_loopback,
    may_be_passed_on,
    redacted,
)
from chexalign.registry import registry

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
    for name in (*SWITCHES, *TRACKERS_OFF, ONLINE, "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return os.environ


def test_every_switch_is_set_whatever_it_was(environ, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    go_offline()
    assert {name: environ[name] for name in SWITCHES} == SWITCHES
    assert {name: environ[name] for name in TRACKERS_OFF} == TRACKERS_OFF
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        assert environ[name] == "1"
    assert environ["DO_NOT_TRACK"] == "1"
    assert (environ["WANDB_MODE"], environ["OMP_NUM_THREADS"]) == ("disabled", "1")


@pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
def test_a_user_may_go_online(environ, monkeypatch, value):
    monkeypatch.setenv(ONLINE, value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    go_offline()
    assert environ["HF_HUB_OFFLINE"] == "0"
    assert not {*SWITCHES, *TRACKERS_OFF} - {"HF_HUB_OFFLINE"} & {*environ}
    assert environ["TOKENIZERS_PARALLELISM"] == "false"
    with pytest.raises(UserError):  # that is another matter
        check_license("https://api.example.org/v1", "not stated", endpoint_is_mine=False)


@pytest.mark.parametrize("value", ["", "0", "no", "maybe"])
def test_nothing_else_goes_online(environ, monkeypatch, value):
    monkeypatch.setenv(ONLINE, value)
    go_offline()
    assert environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.slow  # it imports them
def test_the_libraries_that_are_installed_read_the_switches(environ):
    code = """
from chexalign.privacy import go_offline
go_offline()
import huggingface_hub.constants as hub, transformers.modeling_utils as loading
from ray._common.usage import usage_lib
print(hub.HF_HUB_OFFLINE, hub.HF_HUB_DISABLE_TELEMETRY, hub.HF_HUB_DISABLE_UPDATE_CHECK)
print(loading.is_env_variable_true("DISABLE_SAFETENSORS_CONVERSION"), not usage_lib.usage_stats_enabled())
"""
    pytest.importorskip("ray", reason="ray is not installed")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"True"}


def test_every_switch_is_explained():
    page = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text()
    assert [name for name in (*SWITCHES, *TRACKERS_OFF, ONLINE) if f"`{name}" not in page] == []


@pytest.mark.parametrize(("name", "value"), [("WANDB_MODE", "offline"), ("OMP_NUM_THREADS", "6")])
def test_what_the_user_chose_stays(environ, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    go_offline()
    assert environ[name] == value


def test_the_command_line_sets_them_for_every_verb(environ, capsys):
    assert main.main(["--version"]) == 0
    assert environ["HF_HUB_OFFLINE"] == "1"


def test_they_are_set_before_anything_heavy_is_imported():
    clean = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, json.dumps(list(SWITCHES))],
        capture_output=True,
        text=True,
        check=True,
        env=clean,
    )
    seen = json.loads(done.stderr.splitlines()[-1])
    assert "torch" in seen
    assert {tuple(values) for values in seen.values()} == {tuple(SWITCHES.values())}


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
CREDENTIALED = [
    "PhysioNet Credentialed Health Data License 1.5.0",
    "Stanford University Dataset Research Use Agreement",
    "terms of the RSNA Pneumonia Detection Challenge",
    "CC BY 4.0; the credentialed part under its own terms",
    "that of each source",
    "of our hospital",
    "not stated",
    "",
]
OPEN = [
    "CC BY-NC-ND 4.0",
    "CC0",
    "CC0-1.0",
    "cc-by-4.0",
    "Apache-2.0",
    "MIT",
    "NIH Clinical Center: no restrictions, with attribution",
]


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


@pytest.mark.parametrize("license", OPEN)
def test_open_data_may_go_to_any_server(license):
    check_license("https://api.example.org/v1", license, endpoint_is_mine=False)


def test_of_the_datasets_these_are_open():
    known = {name: registry("datasets").get(name).license for name in registry("datasets").names()}
    openly = {name for name, license in known.items() if may_be_passed_on(license)}
    assert {"openi", "openi-phantom"} <= openly
    assert not [name for name in openly if name.startswith(("mimic", "chexpert", "vindr", "medical-diff", "ms-cxr"))]
    assert "table" not in openly


def test_reports_of_unknown_license_are_not_probed_elsewhere(tmp_path, capsys):
    (tmp_path / "reports.txt").write_text("No effusion.\n")
    settings = [part for item in ("url=http://10.1.2.3/v1", "model=m") for part in ("--set", item)]
    assert main.main(["probe", "green_style", "--reports", str(tmp_path / "reports.txt"), *settings]) == 2
    said = capsys.readouterr().err
    assert "another machine" in said
    assert "not stated" in said


BROKEN = """
import sys, threading
from chexalign.cli import main
def broken(_):
    try:
        int(sys.argv[1])
    except ValueError as e:
        raise KeyError(sys.argv[1]) from e
main._dispatch = broken
thread = threading.Thread(target=lambda: main.main(["run"]))
thread.start(); thread.join()
main.main(["run"])
"""


def test_what_a_library_quotes_is_not_printed():
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, "no effusion is seen"], capture_output=True, text=True, check=False
    )
    assert done.returncode == main.FAILURE
    assert done.stderr.count("KeyError: <19 characters, ") == 2
    assert done.stderr.count("invalid literal for int() with base 10: <19 characters, ") == 2
    assert "in broken" in done.stderr
    assert "effusion" not in done.stderr + done.stdout


@pytest.fixture(autouse=True)
def _hooks(monkeypatch):
    """Puts back what the command line sets for its own process."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    "message",
    [
        "cannot find 'model.safetensors'",
        "mat1 and mat2 shapes cannot be multiplied (4x3 and 5x2)",
        "don't, it isn't",
        "",
    ],
)
def test_messages_without_a_quotation_stay_whole(message):
    assert redacted(message) == message


def test_a_text_is_told_by_length_and_digest():
    first, second = redacted('got "clear lungs" and "clear lungs"').split(" and ")
    assert first == f"got {second}"
    assert redacted("'clear lung'") != redacted("'clear lungs'")


def test_files_of_libraries_are_the_owner_s_alone(tmp_path, capsys):
    assert main.main(["--version"]) == 0
    (tmp_path / "config.json").write_text("{}")
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600
