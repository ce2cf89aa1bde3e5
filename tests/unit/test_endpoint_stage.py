"""The stage of candidates through a server: the whole table whatever fails, and finished parts are kept."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from chexalign.errors import UserError
from chexalign.ids import keyed_seed
from chexalign.policy.source import EndpointSource
from chexalign.recipe.engines import EndpointSpec
from chexalign.run_folder import RunFolder
from chexalign.spread import Threads
from tests.fault_server import Body, FaultServer, Reply, draw, serve, whole
from tests.unit.test_endpoint import PASSING
from tests.unit.test_sample_stage import draw as draw_candidates
from tests.unit.test_sample_stage import run as run  # a fixture
from tests.unit.test_sample_stage import write_prompts

pytest.importorskip("openai", reason="the extra `endpoint` is not installed")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chexalign.engines.endpoint._LONGEST_PAUSE_S", 0.001)


def sample(run: RunFolder, server: FaultServer, **more: Any) -> Any:
    spec = EndpointSpec(url=server.url, model="m", **{"concurrency": 4, **more})
    return draw_candidates(run, EndpointSource(spec), spread=Threads(3))


def check(run: RunFolder) -> None:
    """Every prompt has both draws, with the texts that its seed gives."""
    rows = run.candidates.rows()
    prompts = {p.id: p for p in run.prompts.rows()}
    assert [(c.prompt_id, c.draw) for c in rows] == [(i, d) for i in prompts for d in range(2)]
    for c in rows:
        body = {
            "messages": [{"content": prompts[c.prompt_id].text}],
            "seed": keyed_seed(7, c.prompt_id, 0) & 0x7FFFFFFF,
        }
        assert c.text == draw(body, c.draw)
        assert c.sampler == "endpoint m T=1.0 top_p=1.0"


def test_whatever_fails_in_passing_the_table_is_whole(run: RunFolder) -> None:
    write_prompts(run)
    faults = [PASSING[name] for name in sorted(PASSING)]

    def behavior(body: Body, _: int) -> Reply:
        return faults.pop() if faults else Reply(whole(body))

    with serve(behavior) as server:
        assert sample(run, server, retries=20).rows == 30
        check(run)
        n_requests = len(server.bodies)
        sample(run, server)
        assert len(server.bodies) == n_requests


def test_a_server_that_goes_away_costs_no_finished_part(run: RunFolder) -> None:
    write_prompts(run)
    answered: Counter[str] = Counter()

    def behavior(body: Body, _: int) -> Reply:
        answered["all"] += 1
        return Reply(whole(body), 200 if answered["all"] <= 12 else 503)

    with serve(behavior) as server, pytest.raises(UserError, match="status 503"):
        sample(run, server, retries=1)
    kept = len(list(run.candidates.folder.glob("part-*.parquet")))
    with serve() as server:
        sample(run, server)
        assert len(server.bodies) <= 4 * (4 - kept) + 2  # and two that try the seeds
    check(run)


def test_a_damaged_image_costs_its_own_prompt_only(run: RunFolder) -> None:
    write_prompts(run)
    (run.root / "images" / "05.png").write_bytes(b"\x89PNG")
    with serve() as server:
        manifest = sample(run, server)
        assert (manifest.rows, manifest.dropped) == (28, {"image_unreadable": 1})
        assert len(server.bodies) == 14 + 2
