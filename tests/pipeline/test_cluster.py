"""Parts made by actors of a Ray cluster of two nodes, while processes and a node are taken away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chexalign import ids
from chexalign.engines.cluster import RaySpread
from chexalign.errors import UserError
from chexalign.recipe.engines import ClusterSpec
from chexalign.spread import PartResult, Parts, Processes, Spread
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest, PartInfo, Table
from chexalign.types import ImageRef, Prompt, Study

ray = pytest.importorskip("ray")

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    # Ray's threads outlive a test and leave pipes and sockets to be closed by the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:ray.*"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

N_PARTS = 24
KEY = StageKey("prompts", {}, {"template": "findings@1"}, 1)
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Slow:
    """Two rows per part, after a while; notes each call, and does what files beside the notes ask for."""

    notes: Path
    seconds: float = 0.25

    def setup(self) -> None:
        (self.notes / f"setup-{os.getpid()}").touch()
        if (self.notes / "fail-setup").exists():
            raise UserError("The model folder is empty.", "A policy needs weights.", "Give it some.")

    def part(self, index: int) -> PartResult[Prompt]:
        (self.notes / f"call-{index}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(self.seconds)
        if (self.notes / f"fail-{index}").exists():
            raise UserError(f"Part {index} is bad.", "It was asked to be.", "Ask otherwise.")
        if (self.notes / f"break-{index}").exists():
            raise KeyError(index)
        if (self.notes / f"kill-{index}").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        rows = [Prompt(f"p{index}-{i}", "s", "findings", f"Findings: é {index}", "findings@1") for i in range(2)]
        return PartResult(rows, {"blank": index % 2}, {"tokens": index})

    def calls(self) -> Counter[int]:
        return Counter(int(path.name.split("-")[1]) for path in self.notes.glob("call-*"))

    def pids(self) -> set[int]:
        return {int(path.name.split("-")[1]) for path in self.notes.glob("setup-*")}


@pytest.fixture(scope="module", autouse=True)
def at_home() -> Iterator[None]:
    """Nodes at 127.0.0.1, which Ray does by itself only where it knows no others, and no token in the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        patch.setattr(ray._private.ray_constants, "ENABLE_RAY_CLUSTER", False)
        yield


@pytest.fixture(scope="module")
def cluster(at_home: None) -> Iterator[Any]:
    """A cluster whose head is one node of two; the other comes with `second`."""
    from ray.cluster_utils import Cluster

    quick = {"health_check_period_ms": 1000, "health_check_timeout_ms": 2000, "health_check_failure_threshold": 3}
    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "_system_config": quick})
    yield made
    made.shutdown()


@pytest.fixture
def second(cluster: Any) -> Iterator[Any]:
    node = cluster.add_node(**NODE)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def worker(tmp_path: Path) -> Slow:
    (tmp_path / "notes").mkdir()
    return Slow(tmp_path / "notes")


@pytest.fixture
def table(tmp_path: Path) -> Table[Prompt]:
    return Table(tmp_path / "run" / "prompts", Prompt)


def spread(cluster: Any, actors: int = 1, **options: Any) -> RaySpread:
    return RaySpread(ClusterSpec(address=cluster.address, actors=actors, **options))


def run(table: Table[Prompt], worker: Slow, where: Spread, n_parts: int = N_PARTS) -> Manifest:
    return run_parts(table, worker, key=KEY, n_parts=n_parts, spread=where)


def expected(tmp_path: Path, n_parts: int = N_PARTS) -> Table[Prompt]:
    """The table as this process alone makes it."""
    notes = tmp_path / "notes-of-one"
    notes.mkdir()
    table = Table(tmp_path / "one" / "prompts", Prompt)
    run(table, Slow(notes, 0.0), Processes(1), n_parts)
    return table


def same(table: Table[Any], other: Table[Any]) -> None:
    mine, theirs = Manifest.load(table.folder), Manifest.load(other.folder)
    assert mine is not None
    assert theirs is not None
    assert (mine.content, mine.rows, mine.dropped) == (theirs.content, theirs.rows, theirs.dropped)
    assert table.rows() == other.rows()
    assert [p.name for p in table.folder.glob(".*")] == [], "something was left behind"


@dataclass
class Watched:
    """A spread with something to happen after so many parts."""

    inner: Spread
    after: dict[int, Callable[[], None]]

    def __call__(self, parts: Parts[Any]) -> Iterator[PartInfo]:
        for n, info in enumerate(self.inner(parts), start=1):
            self.after.get(n, lambda: None)()
            yield info


def test_a_killed_process_and_a_lost_node_lose_nothing(cluster, second, table, worker, tmp_path):
    killed: list[int] = []

    def kill() -> None:
        killed.append(min(worker.pids()))
        os.kill(killed[0], signal.SIGKILL)

    removal = threading.Thread(target=cluster.remove_node, args=(second,), kwargs={"allow_graceful": False})

    manifest = run(table, worker, Watched(spread(cluster, actors=2), {5: kill, 11: removal.start}))
    removal.join()
    assert killed
    assert second not in cluster.worker_nodes
    assert len(worker.pids()) >= 3, "the killed process had a successor"
    assert manifest.parts == N_PARTS
    assert set(worker.calls()) == set(range(N_PARTS))
    # Ray hands an actor two parts at a time, so each loss can have cost as many.
    assert worker.calls().total() <= N_PARTS + 6
    same(table, expected(tmp_path))


SCRIPT = """
import sys
from pathlib import Path

from chexalign.engines.cluster import RaySpread
from chexalign.recipe.engines import ClusterSpec
from chexalign.store import Table
from chexalign.types import Prompt
from tests.pipeline.test_cluster import Slow, run

root, address = Path(sys.argv[1]), sys.argv[2]
run(Table(root / "run" / "prompts", Prompt), Slow(root / "notes"), RaySpread(ClusterSpec(address=address)))
"""


@contextmanager
def driver(tmp_path: Path, address: str) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_driver_keeps_what_is_finished(cluster, table, worker, tmp_path, how):
    with driver(tmp_path, cluster.address) as process:
        wait_for(lambda: len(list(table.folder.glob("part-*.json"))) >= 5)
        process.send_signal(how)
        process.wait(timeout=60)
    wait_for(lambda: not any(alive(pid) for pid in worker.pids()))  # of actors, that is: they end by themselves
    assert Manifest.load(table.folder) is None
    done = {i for i in range(N_PARTS) if table.part_info(i, fingerprint=KEY.fingerprint)}
    assert 5 <= len(done) < N_PARTS
    before = worker.calls()
    run(table, worker, spread(cluster))
    assert set(worker.calls() - before) == set(range(N_PARTS)) - done, "only what was missing"
    same(table, expected(tmp_path))


def test_the_error_of_a_worker_comes_out_as_it_is(cluster, table, worker):
    (worker.notes / "fail-2").touch()
    with pytest.raises(UserError) as caught:
        run(table, worker, spread(cluster))
    assert str(caught.value) == "Part 2 is bad.\nIt was asked to be.\nAsk otherwise."
    assert table.part_info(0, fingerprint=KEY.fingerprint)
    assert Manifest.load(table.folder) is None
    assert not ray.is_initialized(), "what was joined is left"
    (worker.notes / "fail-2").unlink()
    (worker.notes / "break-12").touch()  # an actor may have made the parts after the bad one before it was stopped
    with pytest.raises(KeyError):
        run(table, worker, spread(cluster))
    (worker.notes / "fail-setup").touch()
    with pytest.raises(UserError, match="model folder is empty"):
        run(table, worker, spread(cluster))


def test_an_error_stops_the_other_parts_where_the_connection_stays(cluster, table, worker, monkeypatch):
    """A connection that was there before is used and kept, and no actor goes on in it."""
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        (worker.notes / "fail-1").touch()
        with pytest.raises(UserError, match="Part 1"):
            run(table, worker, spread(cluster))
        assert ray.is_initialized()
        wait_for(lambda: not any(alive(pid) for pid in worker.pids()))
        assert worker.calls().total() < 10
        monkeypatch.setattr("chexalign.engines.cluster._ROOM_SECONDS", 0.5)
        with pytest.raises(UserError, match=r"No node had 1 CPU and 64 GPU free .*\nThe cluster has 1 CPU and 0 GPU"):
            run(table, worker, spread(cluster, gpus_per_actor=64))
    finally:
        ray.shutdown()


def test_a_part_that_kills_its_process_every_time_is_told(cluster, table, worker):
    (worker.notes / "kill-1").touch()
    with pytest.raises(UserError, match="Part 1 of prompts ended the process that made it 5 times"):
        run(table, worker, spread(cluster), n_parts=2)
    assert worker.calls()[1] == 5


def test_one_machine_needs_no_cluster(table, worker, tmp_path):
    """And more actors than there is room for do what they can."""
    run(table, worker, RaySpread(ClusterSpec(address="local", actors=40)), n_parts=4)
    assert not ray.is_initialized()
    same(table, expected(tmp_path, 4))


def test_an_address_where_nothing_listens_is_told_at_once(table, worker):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    start = time.monotonic()
    for address in (f"127.0.0.1:{port}", "nowhere"):
        with pytest.raises(UserError, match=f"cluster at {address} cannot be joined"):
            run(table, worker, RaySpread(ClusterSpec(address=address)))
    assert time.monotonic() - start < 30


class Studies:
    """Five studies with an image each, in parts of two."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def setup(self) -> None:
        (self.root / "images").mkdir(exist_ok=True)

    def part(self, index: int) -> PartResult[Study]:
        return PartResult([self.study(i) for i in range(2 * index, min(2 * index + 2, 5))])

    def study(self, i: int) -> Study:
        path = self.root / "images" / f"{i}.png"
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (128, 128), dtype=np.uint8)).save(path)
        image = ImageRef(f"images/{i}.png", ids.file_sha256(path), "frontal", 128, 128, synthetic=True)
        reference = "No effusion. The heart is enlarged." if i % 2 else "Both lungs are clear."
        return Study(f"s{i}", f"q{i}", (image,), None, reference, None, (), "prefer", "made", "CC0-1.0")


def sampled(root: Path, where: Spread) -> tuple[Table[Any], Table[Any]]:
    """Candidates of a tiny policy and their scores, in a run folder of their own."""
    from chexalign.data.templates import get_template
    from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
    from chexalign.judges.stage import CandidateTexts, ScoresWorker
    from chexalign.policy.base import Decoding
    from chexalign.policy.hf import save_checkpoint
    from chexalign.policy.source import LocalSource
    from chexalign.recipe import JudgeSpec
    from chexalign.run_folder import SFT, RunFolder
    from chexalign.sample.stage import CandidatesWorker, PromptsWorker, studies_per_part

    run = RunFolder(root)
    run.root.mkdir()
    tokenizer = train_tokenizer(["No effusion. The heart is enlarged.", "Both lungs are clear."], vocabulary=320)
    save_checkpoint(build_model(tokenizer, seed=3), build_processor(tokenizer), run.policy(SFT))
    run_parts(run.studies, Studies(root), key=StageKey("studies", {}, {}, 0), n_parts=3)
    prompts = PromptsWorker(run, "prefer", get_template("findings@1"), 2, studies_per_part(run, 3, "prefer"))
    run_parts(run.prompts, prompts, key=StageKey("prompts", {}, {}, 0), n_parts=3)
    draw = CandidatesWorker(run, LocalSource(run.policy(SFT)), Decoding(12, temperature=1.0), 2, 2, 1, seed=7)
    run_parts(run.candidates, draw, key=StageKey("candidates", {}, {}, 7), n_parts=3, spread=where)
    judge = ScoresWorker(JudgeSpec(name="chexpert"), CandidateTexts(run), 4)
    run_parts(run.scores("chexpert"), judge, key=StageKey("scores", {}, {}, 0), n_parts=3, spread=where)
    return run.candidates, run.scores("chexpert")


def test_candidates_and_scores_are_those_of_one_process(cluster, second, tmp_path):
    there, here = sampled(tmp_path / "a", spread(cluster, actors=2)), sampled(tmp_path / "b", Processes(1))
    for mine, theirs in zip(there, here, strict=True):
        assert len(mine.rows()) == 10
        same(mine, theirs)
