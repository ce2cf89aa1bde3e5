"""A file is whole or absent, whatever the disk does."""

import errno
import os
import stat
from pathlib import Path

import pytest

from chexalign import atomic
from chexalign.errors import UserError


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def failing(code):
    def write(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise OSError(code, os.strerror(code))

    return write


def test_bytes_text_and_json_come_back(tmp_path):
    atomic.write_bytes(tmp_path / "a", b"\x00\xff")
    atomic.write_text(tmp_path / "b", "Größe")
    atomic.write_json(tmp_path / "c" / "d.json", {"b": [1, None], "a": "é"})
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_bytes() == "Größe".encode()
    assert atomic.read_json(tmp_path / "c" / "d.json") == {"b": [1, None], "a": "é"}


def test_what_is_written_is_the_owners_alone(tmp_path):
    path = tmp_path / "runs" / "demo" / "studies" / "part"
    atomic.write_bytes(path, b"1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_is_there_keeps_its_permissions(tmp_path):
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "shared").chmod(0o755)
    atomic.make_folder(tmp_path / "shared")
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o755


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path, code):
    with pytest.raises(UserError, match="full") as caught:
        atomic.write_file(tmp_path / "a", failing(code))
    assert str(tmp_path / "a") in caught.value.what
    assert names(tmp_path) == []


def test_old_content_survives_a_failed_write(tmp_path):
    atomic.write_bytes(tmp_path / "a", b"old")
    with pytest.raises(UserError):
        atomic.write_file(tmp_path / "a", failing(errno.ENOSPC))
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["replace", "chmod"])
def test_a_disk_that_fills_at_the_last_step_leaves_nothing(tmp_path, monkeypatch, name):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, name, full)
    with pytest.raises(UserError, match="full"):
        atomic.write_bytes(tmp_path / "a", b"1")
    assert names(tmp_path) == []


def test_a_flush_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="full"):
        atomic.write_bytes(tmp_path / "a", b"1")
    assert names(tmp_path) == []


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(UserError, match="cannot be written") as caught:
        atomic.write_bytes(tmp_path / "runs" / "demo" / "a", b"1")
    assert "--runs" in caught.value.fix
    with pytest.raises(UserError, match="cannot be written"):
        atomic.make_folder(tmp_path / "runs")


def test_a_folder_in_the_way_of_a_file_is_told(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        atomic.write_bytes(tmp_path / "a", b"1")
    assert names(tmp_path) == ["a"]


def test_a_writer_that_fails_leaves_nothing_and_says_why(tmp_path):
    def write(_temporary):
        raise KeyError("column")

    with pytest.raises(KeyError, match="column"):
        atomic.write_file(tmp_path / "a", write)
    assert names(tmp_path) == []


def test_other_errors_of_the_system_are_not_hidden(tmp_path):
    with pytest.raises(OSError, match="Input/output"):
        atomic.write_file(tmp_path / "a", failing(errno.EIO))
    assert names(tmp_path) == []


@pytest.mark.parametrize("value", [float("nan"), [float("inf")]])
def test_json_has_no_nan(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(tmp_path / "a.json", value)
    assert names(tmp_path) == []


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(tmp_path):
    for name in (".part-00000.parquet.x1.tmp", ".lock", "part-00000.parquet", "a.tmp"):
        (tmp_path / name).write_bytes(b"")
    atomic.remove_leftovers(tmp_path)
    assert names(tmp_path) == [".lock", "a.tmp", "part-00000.parquet"]


def test_a_folder_that_the_file_system_refuses_to_make_is_told():
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc here")
    with pytest.raises(UserError, match="cannot be written"):
        atomic.make_folder(Path("/proc/chexalign"))
