"""The cluster engine without a cluster: what is checked beforehand, and what an actor does with a part."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chexalign.engines.cluster import RaySpread
from chexalign.engines.cluster_actor import Order, PartMaker, outcome_of
from chexalign.errors import UserError
from chexalign.recipe.engines import ClusterSpec
from chexalign.spread import PartResult, Parts
from chexalign.store import PartInfo, Table
from chexalign.types import Prompt


@dataclass
class Worker:
    """One row per part; notes what it is asked for in a folder."""

    notes: Path
    fails: dict[int, tuple[Any, ...]] = field(default_factory=dict)  # part -> exception and its arguments; -1: setup
    forgets: bool = False  # whether the driver's token goes away meanwhile

    def setup(self) -> None:
        (self.notes / f"setup-{len(self.noted('setup'))}").touch()
        if -1 in self.fails:
            raise self.fails[-1][0](*self.fails[-1][1:])

    def part(self, index: int) -> PartResult[Prompt]:
        (self.notes / f"part-{index}-{len(self.noted('part'))}").touch()
        if index in self.fails:
            raise self.fails[index][0](*self.fails[index][1:])
        if self.forgets:
            for token in (self.notes.parent / "prompts").glob(".cluster-*"):
                token.unlink()
        return PartResult([Prompt(f"p{index}", "s", "findings", "Findings:", "findings@1")])

    def noted(self, what: str) -> list[str]:
        return sorted(path.name for path in self.notes.glob(f"{what}-*"))


class UnpicklableError(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} {b}")


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    (tmp_path / "notes").mkdir()
    (tmp_path / "prompts").mkdir()
    return Worker(tmp_path / "notes")


@pytest.fixture(autouse=True)
def own_folder_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor changes both, in a process of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("chexalign.privacy.go_offline", lambda: None)


def order(worker: Worker, **changes: Any) -> Order:
    folder = worker.notes.parent / "prompts"
    token = folder / ".cluster-1.tmp"
    token.touch()
    parts = Parts(Table(folder, Prompt), worker, "fingerprint", ())
    return Order(**({"parts": pickle.dumps(parts), "token": token, "cwd": Path.cwd()} | changes))


def ask(maker: PartMaker, index: int) -> PartInfo:
    (data,) = maker({"index": [index]})["outcome"]
    return outcome_of(data)


def test_parts_are_written_where_they_are_made(worker):
    maker = PartMaker(order(worker))
    assert worker.noted("setup") == []
    infos = [ask(maker, i) for i in (3, 1)]
    table = Table(worker.notes.parent / "prompts", Prompt)
    assert infos == [table.part_info(i, fingerprint="fingerprint") for i in (3, 1)]
    assert [row.id for row in table.part_rows(3)] == ["p3"]
    assert worker.noted("setup") == ["setup-0"]
    assert [p.name for p in table.folder.glob(".*")] == [".cluster-1.tmp"]


def test_a_part_that_is_there_is_not_made_again(worker):
    """Its actor was lost after it had written the part, and before it could tell."""
    first = ask(PartMaker(order(worker)), 2)
    assert ask(PartMaker(order(worker)), 2) == first
    assert (worker.noted("setup"), worker.noted("part")) == (["setup-0"], ["part-2-0"])


def test_errors_come_out_as_they_were(worker):
    worker.fails = {0: (UserError, "a", "b", "c"), 1: (KeyError, "x"), 2: (UnpicklableError, 1, 2)}
    maker = PartMaker(order(worker))
    with pytest.raises(UserError, match=r"a\nb\nc"):
        ask(maker, 0)
    with pytest.raises(KeyError):
        ask(maker, 1)
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*UnpicklableError: 1 2"):
        ask(maker, 2)
    assert ask(maker, 3).rows == 1
    assert list((worker.notes.parent / "prompts").glob("*.tries.tmp")) == []


def test_an_error_while_setting_up_is_told_by_each_part_that_tries(worker):
    worker.fails = {-1: (UserError, "No weights.", "b", "c")}
    maker = PartMaker(order(worker))
    for index in (0, 1):
        with pytest.raises(UserError, match="No weights"):
            ask(maker, index)


def test_a_node_that_does_not_see_the_folder_is_named(worker, monkeypatch):
    monkeypatch.setattr("chexalign.engines.cluster_actor._SHARED_SECONDS", 0.0)
    maker = PartMaker(order(worker, token=worker.notes.parent / "prompts" / ".cluster-2.tmp"))
    with pytest.raises(UserError, match="does not see the run folder"):
        ask(maker, 0)
    assert worker.noted("setup") == []


def test_a_node_with_other_code_is_named(worker):
    with pytest.raises(UserError, match=r"has chexalign .*, and the run was started with 99"):
        ask(PartMaker(order(worker, version="99")), 0)


def test_nothing_is_written_for_a_driver_that_is_gone(worker):
    """By then the folder may belong to another run, whose stage runner took the token away as a leftover."""
    worker.forgets = True
    with pytest.raises(UserError, match="taken over"):
        ask(PartMaker(order(worker)), 0)
    assert list((worker.notes.parent / "prompts").iterdir()) == []


def test_a_part_is_given_up_after_five_deaths(worker):
    tries = worker.notes.parent / "prompts" / ".part-00004.tries.tmp"
    tries.write_bytes(b"." * 4)
    assert ask(PartMaker(order(worker)), 4).rows == 1
    tries = worker.notes.parent / "prompts" / ".part-00005.tries.tmp"
    tries.write_bytes(b"." * 5)
    with pytest.raises(UserError, match="Part 5 of prompts ended the process that made it 5 times"):
        ask(PartMaker(order(worker)), 5)
    assert worker.noted("part") == ["part-4-0"]


def test_a_relative_run_folder_is_that_of_the_driver(worker, monkeypatch, tmp_path):
    relative = Parts(Table(Path("prompts"), Prompt), worker, "fingerprint", ())
    given = order(worker, parts=pickle.dumps(relative))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ask(PartMaker(given), 0)
    assert (tmp_path / "prompts" / "part-00000.parquet").is_file()


def test_ray_client_is_refused():
    with pytest.raises(UserError, match="Ray Client"):
        RaySpread(ClusterSpec(address="ray://head:10001")).check()


def test_a_missing_ray_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="Ray is not installed"):
        RaySpread(ClusterSpec()).check()


@pytest.mark.slow
def test_ray_is_not_imported_with_the_engine():
    code = "import sys, chexalign.engines.cluster; sys.exit('ray' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
