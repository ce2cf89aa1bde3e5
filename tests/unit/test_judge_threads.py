"""Judges behind a server in a run: asked by one process, with as many requests under way as the recipe says."""

from __future__ import annotations

import importlib.util
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from chexalign.engines.endpoint import Client
from chexalign.errors import UserError
from chexalign.judges import asking, stage
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.guard import OneAtATime
from chexalign.judges.probes import run_probes
from chexalign.judges.score_store import StoredJudge
from chexalign.recipe import JudgeSpec, Recipe
from chexalign.registry import Entry, Registry, registry
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from chexalign.workflow import Workflow, preference
from tests.fault_server import Body, Reply, answer, prompt_of, serve
from tests.recipes import plain
from tests.scored_runs import run_with

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openai") is None, reason="the extra `endpoint` is not installed"
)

STUDIES, DRAWS, CONCURRENCY = 20, 3, 3


class Alone:
    """A judge that notices when two threads ask it at the same time."""

    name, version = "alone", "1"
    inside = most = 0

    def score(self, pairs: list[TextPair]) -> list[Judgement]:
        Alone.inside += 1
        Alone.most = max(Alone.most, Alone.inside)
        time.sleep(0.002)
        Alone.inside -= 1
        return [Judgement(1.0) for _ in pairs]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preference, "SCORES_PER_PART", 5)
    monkeypatch.setattr(asking, "Client", lambda spec: Client(spec, pause_s=0.01))
    entries = [*registry("judges").entries(), Entry("judges", "alone", f"{__name__}:Alone", "tests")]
    monkeypatch.setattr(stage, "registry", lambda _: Registry("judges", entries))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    texts = [[f"report {i} {'word ' * j}" for j in range(DRAWS)] for i in range(STUDIES)]
    return run_with(tmp_path / "runs" / "one", [f"reference {i}" for i in range(STUDIES)], texts)


def started(run: RunFolder, workers: int = 2) -> Workflow:
    """A workflow whose candidates are those of the run."""
    recipe = Recipe.model_validate({**plain(), "workers": workers, "sample": {"split": "prefer"}})
    work = Workflow(recipe, run)
    for name, table in {"studies": run.studies, "candidates": run.candidates}.items():
        work._known[repr((name, (), {}))] = Manifest.load(table.folder)
    return work


def llm(url: str, folder: Path, **more: Any) -> JudgeSpec:
    prompt = folder / "prompt.txt"
    prompt.write_text("Rate {candidate} against {reference}.")
    options = {"prompt": str(prompt), "worst": 0, "best": 9, "pattern": r"(\d)", "url": url, "model": "m"}
    return JudgeSpec(name="llm", options={**options, "concurrency": CONCURRENCY, "retries": 0, **more})


def says(body: Body, _: int) -> Reply:
    words = len(prompt_of(body).split()) - 6
    return Reply(answer(body, [str(words)]), delay_s=0.01)


def test_a_server_sees_no_more_requests_at_a_time_than_the_recipe_says(run: RunFolder, tmp_path: Path) -> None:
    with serve(says) as server:
        manifest = started(run).scores(llm(server.url, tmp_path))
    assert server.most_at_once == CONCURRENCY, "all of them, and from all parts together"
    assert len(server.bodies) == STUDIES * DRAWS
    assert manifest.extra["calls"]["computed"] == STUDIES * DRAWS
    found = [row.value for row in sorted(run.scores("llm").rows(), key=lambda row: row.candidate_id)]
    expected = [j / 9 for _ in range(STUDIES) for j in range(DRAWS)]
    assert found == pytest.approx(expected)
    with serve(says) as server:
        run.scores("llm").folder.joinpath("manifest.json").unlink()
        run.scores("llm").part_path(2).unlink()
        again = started(run).scores(llm(server.url, tmp_path))
    assert (again.content, len(server.bodies)) == (manifest.content, 0), "where the server is changes nothing"


def test_a_server_that_goes_away_is_told_once_and_asked_again_only_about_the_rest(
    run: RunFolder, tmp_path: Path
) -> None:
    left, lock = [25], threading.Lock()

    def some(body: Body, n: int) -> Reply:
        with lock:
            left[0] -= 1
            return says(body, n) if left[0] >= 0 else Reply({"error": {}}, 503)

    with serve(some) as server, pytest.raises(UserError, match="no usable answer"):
        started(run).scores(llm(server.url, tmp_path))
    assert len(server.bodies) < 25 + 4 * CONCURRENCY, "threads do not find out one after the other"
    assert Manifest.load(run.scores("llm").folder) is None
    with serve(says) as server:
        manifest = started(run).scores(llm(server.url, tmp_path))
    assert 0 < len(server.bodies) < STUDIES * DRAWS
    assert manifest.extra["calls"]["computed"] == STUDIES * DRAWS, "over both runs, none of them twice"
    assert all(row.value is not None for row in run.scores("llm").rows())


def test_other_judges_inside_are_asked_one_after_the_other(run: RunFolder, tmp_path: Path) -> None:
    with serve(says) as server:
        of = [llm(server.url, tmp_path), JudgeSpec(name="alone")]
        judge = JudgeSpec.model_validate({"name": "sum", "of": of, "options": {"weights": [1, 1]}})
        started(run).scores(judge)
    assert Alone.most == 1
    assert server.most_at_once == CONCURRENCY


def test_the_calls_of_threads_are_counted_apart(run: RunFolder, tmp_path: Path) -> None:
    with serve(says) as server:
        started(run).scores(llm(server.url, tmp_path))
    table = run.scores("llm")
    calls = [table.info(i).extra["calls"] for i in range(12)]
    assert [call["computed"] for call in calls] == [table.info(i).rows for i in range(12)]


def test_one_at_a_time_passes_on_what_is_said() -> None:
    judge = OneAtATime(Alone())
    assert (judge.name, judge.version) == ("alone", "1")
    assert judge.score([TextPair("a", "b")]) == [Judgement(1.0)]


def test_two_judges_of_one_name_have_tables_of_their_own(run: RunFolder, tmp_path: Path) -> None:
    with serve(says) as server:
        one, other = (llm(server.url, tmp_path, worst=worst) for worst in (0, -1))
        work = started(run)
        for label, judge in {"one": one, "other": other}.items():
            work.scores(judge.model_copy(update={"label": label}))
    tables = [{row.candidate_id: row for row in run.scores(name).rows()} for name in ("llm-one", "llm-other")]
    assert [next(iter(table.values())).judge.split("@")[0] for table in tables] == ["llm-one", "llm-other"]
    assert all(tables[0][i].value != tables[1][i].value for i in tables[0])


def test_scores_by_an_older_version_of_a_judge_are_made_again_and_it_is_said_why(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = started(run, 1).scores(JudgeSpec(name="alone"))
    capsys.readouterr()
    assert started(run, 1).scores(JudgeSpec(name="alone")) == first
    assert "note" not in capsys.readouterr().err
    monkeypatch.setattr(Alone, "version", "2")
    second = started(run, 1).scores(JudgeSpec(name="alone"))
    assert "by version 1 of the judge; by version 2 they are made again" in capsys.readouterr().err
    assert {row.judge for row in run.scores("alone").rows()} == {"alone@2"}
    assert second.fingerprint != first.fingerprint


def test_what_a_dear_judge_said_of_a_probe_is_kept(run: RunFolder, tmp_path: Path) -> None:
    reports = {f"s{i}": f"No effusion. The heart is enlarged. No mass in zone {i}." for i in range(30)}
    spec, store = llm("http://127.0.0.1:9/v1", tmp_path), stage.score_store_folder(run)
    with serve(lambda body, _: Reply(answer(body, ["3"]))) as server:
        for _ in range(2):
            there = spec.model_copy(update={"options": {**spec.options, "url": server.url}})
            first = run_probes(stage.make_keeping(there, store), reports, resamples=10)
    n = len({prompt_of(body) for body in server.bodies})
    assert n == len(server.bodies) > 60
    assert run_probes(stage.make_keeping(spec, store), reports, resamples=10) == first, "without a server"
    assert not isinstance(stage.make_keeping(JudgeSpec(name="chexpert"), store), StoredJudge)
