"""Folders of files as a stage's output: done when the manifest and every file agree."""

import pytest

from chexalign import artifact
from chexalign.stage import StageKey

KEY = StageKey("sft", {"studies": "d1"}, {"epochs": 2}, 1)
LOG = [{"step": 0, "loss": 1.5}, {"step": 1, "loss": 1.25}]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def finish(folder, **options):
    return artifact.finish(folder, KEY, rows=7, seconds=1.5, log=LOG, **options)


def test_a_finished_folder_is_found_again(folder):
    written = finish(folder, dropped={"too_long": 2}, extra={"validation_nll": 1.1})
    assert artifact.finished(folder, KEY) == written
    assert set(written.extra["files"]) == {"weights.bin", "config.json", "training.json"}
    assert written.extra["validation_nll"] == 1.1
    assert (written.rows, written.dropped) == (7, {"too_long": 2})
    assert artifact.read_log(folder) == LOG


def test_a_folder_that_is_not_there_or_has_no_manifest_is_not_finished(folder):
    assert artifact.finished(folder / "nowhere", KEY) is None
    assert artifact.finished(folder, KEY) is None


def test_another_key_is_not_finished(folder):
    finish(folder)
    assert artifact.finished(folder, StageKey("sft", {"studies": "d2"}, {"epochs": 2}, 1)) is None


@pytest.mark.parametrize("damage", ["flip", "delete", "add", "manifest"])
def test_a_folder_whose_files_changed_is_not_finished(folder, damage):
    finish(folder)
    if damage == "flip":
        (folder / "weights.bin").write_bytes(b"Weights")
    elif damage == "delete":
        (folder / "config.json").unlink()
    elif damage == "add":
        (folder / "model-00002.bin").write_bytes(b"")
    else:
        (folder / "manifest.json").write_text("{")
    assert artifact.finished(folder, KEY) is None


def test_hidden_files_and_folders_do_not_count(folder):
    finish(folder)
    (folder / ".cache.tmp").write_bytes(b"")
    (folder / "later").mkdir()
    assert artifact.finished(folder, KEY) is not None


def test_the_content_is_of_the_weights_and_not_of_the_log(folder, tmp_path_factory):
    """Clock fields in the log must not make what reads the checkpoint start over."""
    first = finish(folder)
    again = artifact.finish(folder, KEY, rows=7, seconds=9.0, log=[{"step": 0, "seconds": 3.0}])
    assert again.content == first.content
    (folder / "weights.bin").write_bytes(b"other")
    assert finish(folder).content != first.content


def test_a_stage_without_a_log_has_an_empty_one(folder):
    artifact.finish(folder, KEY, rows=0, seconds=0.0)
    assert artifact.read_log(folder) == []
