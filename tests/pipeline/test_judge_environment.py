"""Judges in a real second environment, which holds a package in a version that this one cannot use."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from chexalign.errors import UserError
from chexalign.judges.base import TextPair
from chexalign.judges.child import (
    ChildJudge,
    CrimsonJudge,
    RadCliQJudge,
    RadEvalJudge,
    RadGraphJudge,
    RaTEScoreJudge,
)
from chexalign.judges.green import GreenJudge
from chexalign.judges.green_parse import SECTIONS
from chexalign.judges.knowledge import KnowledgeJudge
from tests.fault_server import Reply, answer, serve

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
OLD = "20.0"  # of packaging: the last releases with LegacyVersion are older than any that this environment may have

SCRIPT = """
    import os
    import packaging
    from packaging.version import LegacyVersion

    class Judge:
        name = "old-pin"
        version = packaging.__version__

        def score(self, rows):
            return [self.one(**row) for row in rows]

        def one(self, candidate, reference):
            if candidate == "crash":
                os._exit(9)
            said, true = LegacyVersion(candidate), LegacyVersion(reference)
            return {"value": float(said >= true), "parts": {"n": len(candidate)}, "notes": {"order": str(said)}}

    def make():
        return Judge()
"""


def install(python: Path, *packages: str) -> None:
    """Installs packages there without what they depend on; skips the test where no index can be reached."""
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
    done = subprocess.run([*pip, "install", "--no-deps", *packages], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install {packages[-1]} here")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("second") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    found = folder / "bin" / "python"
    install(found, f"packaging=={OLD}")
    return found


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "old_pin.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


def test_a_pin_of_theirs_meets_nothing_of_ours(python: Path, script: Path) -> None:
    assert importlib.metadata.version("packaging") != OLD
    with pytest.raises(ImportError):
        from packaging.version import LegacyVersion  # noqa: F401
    with closing(ChildJudge(python=str(python), script=str(script))) as judge:
        assert (judge.name, judge.version) == ("old-pin", OLD)
        found = judge.score([TextPair("1.10", "1.9"), TextPair("1.9", "1.10"), TextPair("1.10", "1.9")])
    assert [(j.value, j.parts, j.notes) for j in found] == [
        (1.0, {"n": 4.0}, {"order": "1.10"}),
        (0.0, {"n": 3.0}, {"order": "1.9"}),
        (1.0, {"n": 4.0}, {"order": "1.10"}),
    ]


def test_a_row_that_crashes_it_is_an_error_and_the_rest_goes_on(python: Path, script: Path) -> None:
    pairs = [TextPair("crash" if i == 5 else f"1.{i}", "1.3") for i in range(12)]
    pairs += [TextPair("", "1.3"), TextPair("1.3", "")]
    with closing(ChildJudge(python=str(python), script=str(script), batch_size=4)) as judge:
        found = judge.score(pairs)
    assert [j.status for j in found] == ["error" if i in (5, 12, 13) else "ok" for i in range(14)]
    assert [found[i].reason for i in (5, 12, 13)] == [
        "the child ended (status 9)",
        "the candidate has no words",
        "the reference has no words",
    ]


def test_what_its_environment_lacks_is_named(python: Path) -> None:
    with pytest.raises(UserError, match="radeval"):
        RaTEScoreJudge(python=str(python)).score([TextPair("Clear.", "Clear.")])
    with pytest.raises(UserError, match="green-score"):
        GreenJudge(python=str(python), url="http://127.0.0.1:9/v1", model="m")


RADEVAL = """
    class RadEval:
        def __init__(self, metrics, per_sample, show_progress):
            assert per_sample and not show_progress
            self.metric = metrics[0]

        def __call__(self, refs, hyps):
            print("a progress bar")
            n = [float(len(h)) for h in hyps]
            found = {
                "radgraph": {"radgraph_simple": n, "radgraph_partial": [x / 2 for x in n], "total": 3},
                "radcliq": {"radcliq_v1": n},
                "srrbert": {"srrbert_f1": n, "labels": ["a"]},
                "crimson": {"crimson": [float("nan")] * len(n)},
            }
            return found[self.metric]
"""


def test_radeval_is_asked_as_its_interface_says(tmp_path: Path) -> None:
    """With a stand-in of its interface, since its weights cannot be had here."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "radeval.py").write_text(textwrap.dedent(RADEVAL))
    (site / "radeval-2.2.1.dist-info").mkdir()
    (site / "radeval-2.2.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: radeval\nVersion: 2.2.1\n")
    pairs = [TextPair("abcd", "a"), TextPair("", "a")]
    expected = {
        RadGraphJudge: ("radgraph", 2.0, {"radgraph_simple": 4.0, "radgraph_partial": 2.0}, (0.0, "ok")),
        RadCliQJudge: ("radcliq", -4.0, {"radcliq_v1": 4.0}, (None, "error")),
        CrimsonJudge: ("crimson", None, {}, (None, "error")),
    }
    for kind, (name, value, parts, empty) in expected.items():
        with closing(kind(python=str(python))) as judge:
            assert (judge.name, judge.version) == (name, "2.2.1")
            first, second = judge.score(pairs)
        assert (first.value, first.parts, (second.value, second.status)) == (value, parts, empty)
    with closing(RadEvalJudge(python=str(python), metric="srrbert", key="srrbert_f1")) as judge:
        assert (judge.name, judge.score(pairs)[0].value) == ("radeval-srrbert", 4.0)
    for options in ({}, {"metric": "x"}):
        with pytest.raises(TypeError):
            (RadEvalJudge if not options else RadGraphJudge)(python=str(python), **options)


RADGRAPH = """
    class RadGraph:
        def __init__(self, model_type):
            assert model_type == "radgraph-xl"

        def __call__(self, texts):
            print("Using device: cpu")
            return {str(i): {"text": t, "entities": self.entities(t)} for i, t in enumerate(texts) if "fails" not in t}

        def entities(self, text):
            found = {}
            for i, word in enumerate(text.split()):
                if word in ("effusion", "edema"):
                    there = {"tokens": word.title(), "label": "Observation::definitely present"}
                    found[str(i)] = there | {"start_ix": i, "end_ix": i, "relations": []}
                    if i:
                        found[str(i)]["relations"] = [["located_at", str(i - 1)]]
                        anatomy = {"tokens": text.split()[i - 1], "label": "Anatomy::definitely present"}
                        found[str(i - 1)] = anatomy | {"start_ix": i - 1, "end_ix": i - 1, "relations": []}
            return found
"""


def test_radgraph_is_asked_as_its_source_says(tmp_path: Path) -> None:
    """With a stand-in of radgraph 0.1.18, since its weights cannot be had here."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "radgraph.py").write_text(textwrap.dedent(RADGRAPH))
    info = site / "radgraph-0.1.18.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: radgraph\nVersion: 0.1.18\n")
    pairs = [
        TextPair("Left effusion", "left effusion"),
        TextPair("right effusion", "left effusion"),
        TextPair("this fails", "left effusion"),
        TextPair("<answer>yes</answer>", "<think>all is well</think><answer>yes</answer>"),
        TextPair("", "edema"),
    ]
    with closing(KnowledgeJudge(graph="radgraph", python=str(python), batch_size=3)) as judge:
        assert judge.version == "1-0.1.18-radgraph-xl"
        found = judge.score(pairs)
    assert [(j.parts.get("entities"), j.parts.get("relations")) for j in found] == [
        (1.0, 1.0),
        (1 / 3, 0.0),
        (None, None),
        (1.0, 1.0),
        (None, None),
    ]
    assert [(j.value, j.status) for j in found[2:]] == [(None, "error"), (1.0, "ok"), (0.0, "ok")]
    assert str(found[2].reason).startswith("the script failed (KeyError")


def test_the_official_prompt_of_green_is_rendered_there(python: Path) -> None:
    pytest.importorskip("openai", reason="the extra `endpoint` is not installed")
    install(python, "--ignore-requires-python", "green-score==0.0.12")
    golden = json.loads((ROOT / "tests/golden/judges/green_answers.json").read_text(encoding="utf-8"))
    long = TextPair("word " * 400 + "beyond", "The heart\n is normal.")
    with serve(lambda body, _: Reply(answer(body, [golden["good"]]))) as server:
        judge = GreenJudge(python=str(python), url=server.url, model="m")
        assert judge.score([long])[0].value == 4 / 6
    prompt = server.bodies[0]["messages"][0]["content"]
    assert prompt.count("word") == 300 + prompt.count("words")
    assert "\n    the heart is normal.\n" in prompt
    assert "beyond" not in prompt
    assert all(f"\n    [{title}]:\n" in prompt for title in SECTIONS.values())
