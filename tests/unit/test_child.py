"""A script in another process: answers, failures of rows, deaths, time-outs, noise and the end."""

from __future__ import annotations

import ast
import gc
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from chexalign.engines import child_runner
from chexalign.engines.child import Child, redacted
from chexalign.errors import UserError
from chexalign.judges import children

SECRET = "patient Q has a nodule"
SCRIPT = """
    import os, sys, time

    class Judge:
        name, version = "echo", "3"

        def __init__(self, word=""):
            self.word = word

        def score(self, rows):
            print("noise on stdout")
            os.write(1, b"more noise" + bytes([10]))
            return [self.one(**row) for row in rows]

        def one(self, text, kind=""):
            if kind == "raise":
                raise ValueError(text)
            if kind == "die":
                sys.stderr.write(text + chr(10))
                os._exit(7)
            if kind == "kill":
                os.kill(os.getpid(), 9)
            if kind == "hang":
                time.sleep(60)
            if kind == "once" and not os.path.exists(text):
                open(text, "w").close()
                os._exit(7)
            return {"text": text + self.word, "pid": os.getpid()}

    def make(**options):
        return Judge(**options)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "echo_script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


def rows(*kinds: str, text: str = SECRET) -> list[dict[str, Any]]:
    return [{"text": text, "kind": kind} for kind in kinds]


def test_rows_are_answered_in_order_by_one_process(script: Path) -> None:
    with Child(sys.executable, script, options={"word": "!"}, batch_size=3) as child:
        assert (child.hello.name, child.hello.version) == ("echo", "3")
        found = child.ask([{"text": str(i)} for i in range(10)])
        assert [row["text"] for row in found] == [f"{i}!" for i in range(10)]
        assert len({row["pid"] for row in found}) == 1
        assert child.ask([]) == []


def test_nothing_is_started_before_it_is_needed() -> None:
    Child("/nowhere/python", "nothing.py").close()


def test_text_arrives_as_it_is(script: Path) -> None:
    texts = ["", "Größe — 肺野", "\x00\x07\u2028\n", "x " * 100_000, "\ud800"]
    with Child(sys.executable, script) as child:
        assert [row["text"] for row in child.ask([{"text": text} for text in texts])] == texts


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("raise", r"the script failed \(ValueError at echo_script.py:\d+\)"),
        ("die", r"the child ended \(status 7\)"),
        ("kill", r"the child ended \(signal 9\)"),
        ("hang", r"the child gave no answer within 0.3 s"),
    ],
)
def test_a_row_that_fails_leaves_the_others(script: Path, kind: str, reason: str) -> None:
    with Child(sys.executable, script, timeout_s=0.3) as child:
        found = child.ask(rows("", "", kind, ""))
        assert [isinstance(row, dict) for row in found] == [True, True, False, True]
        assert re.fullmatch(reason, str(found[2]))
        assert isinstance(child.ask(rows(kind))[0], str)
        assert isinstance(child.ask(rows(""))[0], dict)


def test_a_row_is_tried_twice(script: Path, tmp_path: Path) -> None:
    with Child(sys.executable, script) as child:
        assert isinstance(child.ask(rows("once", text=str(tmp_path / "seen")))[0], dict)


def test_a_child_that_dies_again_and_again_ends_the_work(script: Path) -> None:
    with Child(sys.executable, script, max_deaths=3) as child, pytest.raises(UserError, match="3 times") as caught:
        child.ask(rows("die", "die", "die", "die"))
    assert SECRET not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("x = 1", "AttributeError"),
        ("import os; os._exit(3)", "status 3"),
        ("def make(): raise RuntimeError('weights are missing')", "weights are missing"),
        ("import time; time.sleep(60)", "no answer within 0.5 s"),
        ("import os; os.write(1, b'hello')", "AttributeError"),
    ],
)
def test_a_script_that_does_not_start(tmp_path: Path, code: str, message: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(code)
    with Child(sys.executable, path, start_timeout_s=0.5) as child, pytest.raises(UserError, match=message) as caught:
        child.ask(rows(""))
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("missing", ["python", "script"])
def test_what_is_not_there_is_named(script: Path, tmp_path: Path, missing: str) -> None:
    paths: dict[str, Any] = {"python": sys.executable, "script": script, missing: tmp_path / "nothing"}
    with pytest.raises(UserError, match="nothing"):
        Child(**paths).ask(rows(""))


def test_an_interpreter_that_cannot_be_run_is_named(script: Path, tmp_path: Path) -> None:
    (tmp_path / "python").write_text("no program")
    with pytest.raises(UserError, match="cannot be run"):
        Child(tmp_path / "python", script).ask(rows(""))


@pytest.mark.parametrize("answer", ["[1]", "[{}, {}]", "[{}] * (len(rows) + 1)", "None", "[{'x': {1}}]"])
def test_an_answer_that_is_none_is_a_failure_of_the_row(tmp_path: Path, answer: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(
        f"class J:\n    name = version = '1'\n    def score(self, rows): return {answer}\ndef make(): return J()\n"
    )
    with Child(sys.executable, path) as child:
        assert all(isinstance(row, str) and "script" in row for row in child.ask([{}]))


def test_packages_of_this_environment_are_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "env.py"
    path.write_text(
        "import os\nclass J:\n    name = version = '1'\n"
        "    def score(self, rows): return [{k: os.environ.get(k) for k in ('PYTHONPATH', 'HF_HUB_OFFLINE')}]\n"
        "def make(): return J()\n"
    )
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    with Child(sys.executable, path) as child:
        assert child.ask([{}]) == [{"PYTHONPATH": None, "HF_HUB_OFFLINE": "1"}]


def gone(pid: int, within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_a_child_ends_when_it_is_closed_or_forgotten(script: Path) -> None:
    child = Child(sys.executable, script)
    first = child.ask(rows(""))[0]["pid"]
    child.close()
    assert gone(first)
    second = child.ask(rows(""))[0]["pid"]
    assert second != first
    del child
    gc.collect()
    assert gone(second)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "hang"])
def test_a_child_ends_with_a_parent_that_is_killed(script: Path, tmp_path: Path, kind: str) -> None:
    program = f"""
import os, sys, threading, time
from chexalign.engines.child import Child
child = Child(sys.executable, {str(script)!r})
print(child.ask([{{"text": ""}}])[0]["pid"], flush=True)
child.ask([{{"text": "", "kind": {kind!r}}}])
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert gone(pid)


@pytest.mark.parametrize(
    "path",
    [Path(child_runner.__file__), *sorted(Path(children.__file__).parent.glob("*.py"))],
    ids=lambda path: path.name,
)
def test_what_runs_there_is_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_last_words_hold_no_message() -> None:
    stderr = [
        "loading weights",
        "Traceback (most recent call last):",
        '  File "/home/somebody/scripts/judge.py", line 12, in score',
        f'    raise ValueError("{SECRET}")',
        f"ValueError: {SECRET}",
        f"pkg.errors.OddError: {SECRET}",
        "ModuleNotFoundError: No module named 'radeval'",
        "KeyError",
    ]
    found = redacted(stderr)
    assert found == ["ValueError", "pkg.errors.OddError", "ModuleNotFoundError: No module named 'radeval'", "KeyError"]
    assert redacted(stderr[:4]) == ["judge.py:12"]
