"""The stage runner: what is missing is done, once, and a killed worker loses nothing that was finished."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import pytest

from chexalign import atomic, progress
from chexalign.errors import UserError
from chexalign.spread import PartResult, Threads
from chexalign.stage import StageKey, locked, run_parts
from chexalign.store import Manifest, Table
from chexalign.types import Prompt

N_PARTS = 5
KEY = StageKey("prompts", {"studies": "d1"}, {"template": "findings@1"}, 1)


@dataclass
class Writer:
    """Two rows per part; notes each call in a folder, and fails as a file in that folder asks it to."""

    notes: Path
    word: str = "Findings:"

    def setup(self) -> None:
        if (self.notes / "fail-setup").exists():
            raise UserError("The model folder is empty.", "A policy needs weights.", "Give it some.")

    def part(self, index: int) -> PartResult[Prompt]:
        (self.notes / f"call-{index}-{time.monotonic_ns()}").touch()
        kill = self.notes / f"kill-{index}"
        if kill.exists():
            kill.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if (self.notes / f"fail-{index}").exists():
            raise UserError(f"Part {index} is bad.", "It was asked to be.", "Ask otherwise.")
        rows = [Prompt(f"p{index}-{i}", f"s{i}", "findings", self.word, "findings@1") for i in range(2)]
        return PartResult(rows, {"blank": 1}, {"tokens": index})

    def calls(self) -> list[int]:
        found = sorted(int(path.name.split("-")[1]) for path in self.notes.glob("call-*"))
        for path in self.notes.glob("call-*"):
            path.unlink()
        return found


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path / "run" / "prompts", Prompt)


@pytest.fixture
def writer(tmp_path):
    (tmp_path / "notes").mkdir()
    return Writer(tmp_path / "notes")


def run(table, writer, *, key=KEY, n_parts=N_PARTS, workers=1, **options):
    return run_parts(table, writer, key=key, n_parts=n_parts, workers=workers, **options)


def test_a_stage_writes_its_parts_and_accounts_for_its_rows(table, writer):
    manifest = run(table, writer, dropped_before={"no_image": 3, "blank": 1})
    assert (manifest.rows, manifest.parts, manifest.dropped) == (10, N_PARTS, {"blank": 6, "no_image": 3})
    assert (manifest.stage, manifest.fingerprint) == ("prompts", KEY.fingerprint)
    assert (manifest.inputs, manifest.config, manifest.seed) == (KEY.inputs, KEY.config, KEY.seed)
    assert [row.id for row in table.rows()] == [f"p{i}-{j}" for i in range(N_PARTS) for j in range(2)]
    assert writer.calls() == list(range(N_PARTS))
    assert Manifest.load(table.folder) == manifest


def test_a_finished_stage_is_not_done_again(table, writer):
    first = run(table, writer)
    writer.calls()
    before = {p.name: p.stat().st_mtime_ns for p in table.folder.iterdir()}
    assert run(table, writer, workers=2) == first
    assert writer.calls() == []
    assert before == {p.name: p.stat().st_mtime_ns for p in table.folder.iterdir()}


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "info"])
def test_only_the_damaged_part_is_redone(table, writer, damage):
    first = run(table, writer)
    writer.calls()
    path = table.part_path(3)
    data = path.read_bytes()
    if damage == "flip":
        path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    elif damage == "truncate":
        path.write_bytes(data[:-1])
    elif damage == "delete":
        path.unlink()
    else:
        path.with_suffix(".json").write_text("{")
    second = run(table, writer)
    assert writer.calls() == [3]
    assert second.content == first.content
    assert (second.rows, second.dropped) == (first.rows, first.dropped)


def test_a_damaged_manifest_is_written_again_and_no_part_is(table, writer):
    first = run(table, writer)
    writer.calls()
    (table.folder / "manifest.json").write_text('{"stage": ')
    assert run(table, writer) == first
    assert writer.calls() == []


@pytest.mark.parametrize(
    "key",
    [
        StageKey("prompts", {"studies": "d2"}, KEY.config, 1),
        StageKey("prompts", KEY.inputs, {"template": "codes@1"}, 1),
        StageKey("prompts", KEY.inputs, KEY.config, 2),
    ],
    ids=["inputs", "config", "seed"],
)
def test_another_fingerprint_redoes_everything(table, writer, key):
    run(table, writer)
    writer.calls()
    assert run(table, writer, key=key).fingerprint != KEY.fingerprint
    assert writer.calls() == list(range(N_PARTS))


def test_another_version_of_the_code_redoes_everything(monkeypatch):
    before = KEY.fingerprint
    monkeypatch.setattr("chexalign.stage.__version__", "99")
    assert KEY.fingerprint != before


def test_parts_of_an_earlier_longer_table_do_not_stay(table, writer):
    """Other tools read every part-*.parquet that lies there."""
    run(table, writer)
    run(table, writer, key=StageKey("prompts", {"studies": "d2"}, {}, 1), n_parts=2)
    assert sorted(p.name for p in table.folder.glob("part-*")) == [
        f"part-0000{i}.{end}" for i in range(2) for end in ("json", "parquet")
    ]
    assert len(table.rows()) == 4


def test_leftovers_of_a_killed_run_are_removed(table, writer):
    atomic.make_folder(table.folder)
    (table.folder / ".part-00000.parquet.abc.tmp").write_bytes(b"half")
    run(table, writer)
    assert list(table.folder.glob(".*")) == []


def test_the_manifest_comes_last(table, writer):
    run(table, writer)
    table.part_path(3).unlink()
    (writer.notes / "fail-3").touch()
    with pytest.raises(UserError, match="Part 3"):
        run(table, writer)
    assert not (table.folder / "manifest.json").exists()
    with pytest.raises(UserError, match="not finished"):
        table.rows()
    (writer.notes / "fail-3").unlink()
    writer.calls()
    run(table, writer)
    assert writer.calls() == [3]


def test_a_stage_without_parts_is_an_empty_table(table, writer):
    assert run(table, writer, n_parts=0).rows == 0
    assert table.rows() == []


def test_results_do_not_depend_on_the_order_of_the_work(table, writer, tmp_path):
    first = run(table, writer)
    other = Table(tmp_path / "other", Prompt)
    for index in (4, 0, 2):
        result = writer.part(index)
        other.write_part(index, result.rows, fingerprint=KEY.fingerprint, dropped=result.dropped)
    second = run(other, writer)
    assert (second.content, second.rows, second.dropped) == (first.content, first.rows, first.dropped)


@pytest.mark.slow
def test_two_workers_give_the_same_table(table, writer, tmp_path):
    first = run(table, writer)
    other = Table(tmp_path / "other", Prompt)
    second = run(other, writer, workers=2)
    assert second.content == first.content
    assert (second.rows, second.dropped) == (first.rows, first.dropped)
    assert other.rows() == table.rows()
    assert second.extra == {"workers": 2}


@pytest.mark.slow
def test_a_killed_worker_is_told_and_what_is_done_is_kept(table, writer):
    (writer.notes / "kill-4").touch()
    with pytest.raises(UserError, match="killed") as caught:
        run(table, writer, workers=2)
    assert caught.value.exit_code == 2
    assert not (table.folder / "manifest.json").exists()
    kept = {i for i in range(N_PARTS) if table.part_info(i, fingerprint=KEY.fingerprint)}
    assert len(kept) >= 3  # parts are handed out in order, and two are under way at once
    assert 4 not in kept
    writer.calls()
    manifest = run(table, writer, workers=2)
    assert set(writer.calls()) == set(range(N_PARTS)) - kept
    assert manifest.rows == 10


@pytest.mark.slow
def test_the_error_of_a_worker_process_reaches_the_user(table, writer):
    (writer.notes / "fail-1").touch()
    with pytest.raises(UserError, match="Part 1 is bad"):
        run(table, writer, workers=2)


@pytest.mark.slow
def test_an_error_while_workers_set_up_reaches_the_user(table, writer):
    (writer.notes / "fail-setup").touch()
    with pytest.raises(UserError, match="model folder is empty"):
        run(table, writer, workers=1)
    with pytest.raises(UserError, match="model folder is empty"):
        run(table, writer, workers=2)


HOLDER = """
import sys, time
from pathlib import Path
from chexalign.stage import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_run_folder_is_held_by_one_process_and_free_after_it_was_killed(tmp_path):
    process = hold(tmp_path / "run")
    try:
        with pytest.raises(UserError, match=f"in use by process {process.pid}"), locked(tmp_path / "run"):
            pass
    finally:
        process.kill()
        process.communicate()
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").read_text() == str(os.getpid())


def test_a_lock_is_free_after_an_error_in_the_run(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


def test_the_lock_does_not_explain_errors_that_are_not_its_own(tmp_path):
    with pytest.raises(NotADirectoryError), locked(tmp_path / "run"):
        (Path(__file__) / "image.png").read_bytes()


def test_a_file_in_the_way_of_the_run_folder_is_told(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="cannot be written"), locked(tmp_path / "run"):
        pass


def test_progress_is_shown_on_a_pipe_too():
    talk = io.StringIO()
    with redirect_stderr(talk), progress.bar(3, "draw candidates", done=1) as b:
        b.update()
        b.set_postfix_str("loss 0.5")
    assert "draw candidates" in talk.getvalue()
    assert "2/3" in talk.getvalue()


def test_only_the_first_parts_are_made_and_the_table_is_finished_later(table, writer):
    partial = run(table, writer, only=2)
    assert (partial.rows, writer.calls()) == (4, [0, 1])
    assert Manifest.load(table.folder) is None
    assert run(table, writer, only=2) == partial
    assert writer.calls() == []
    whole = run(table, writer)
    assert (whole.rows, writer.calls()) == (10, [2, 3, 4])
    assert run(table, writer, only=1) == whole, "a finished table is not undone"


def test_a_table_that_loses_too_many_rows_stops_and_keeps_what_is_done(table, writer):
    with pytest.raises(UserError, match="blank 3") as e:
        run(table, writer, most_dropped=2, label="candidates")
    assert "allows 2" in str(e.value)
    assert writer.calls() == [0, 1, 2]
    with pytest.raises(UserError, match="blank 3"):  # of those that are there already
        run(table, writer, most_dropped=2)
    assert writer.calls() == []
    assert run(table, writer, most_dropped=5).dropped == {"blank": 5}
    assert writer.calls() == [3, 4]


def test_progress_says_rows_and_tokens(table, writer):
    with redirect_stderr(io.StringIO()) as err:
        run(table, writer)
    assert "10 rows, 5 dropped" in err.getvalue()
    assert "tokens/s" in err.getvalue()


def test_threads_make_parts_at_the_same_time_in_one_process(table, tmp_path):
    (tmp_path / "notes").mkdir()
    barrier = threading.Barrier(2, timeout=20)

    class Meeting(Writer):
        def part(self, index):
            barrier.wait()  # passes only with two parts under way
            return super().part(index)

    worker = Meeting(tmp_path / "notes")
    manifest = run(table, worker, n_parts=4, spread=Threads(2))
    assert manifest.rows == 8
    assert worker.calls() == [0, 1, 2, 3]


def test_an_error_in_a_thread_comes_out_and_what_is_done_stays(table, writer):
    (writer.notes / "fail-2").touch()
    with pytest.raises(UserError, match="Part 2 is bad"):
        run(table, writer, spread=Threads(1))
    begun = writer.calls()  # perhaps one more than the failed one: a thread may have taken it before it was called off
    assert begun[:3] == [0, 1, 2]
    (writer.notes / "fail-2").unlink()
    assert run(table, writer, spread=Threads(1)).rows == 10
    assert writer.calls() == [2, *(i for i in (3, 4) if i not in begun)]
