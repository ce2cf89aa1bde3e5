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
from chexalign.judges.child import ChildJudge, RaTEScoreJudge
from chexalign.judges.green import GreenJudge
from chexalign.judges.green_parse import SECTIONS
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
