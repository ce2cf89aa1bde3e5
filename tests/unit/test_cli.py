"""The command line is light to start, talks on stderr, prints data on stdout, and has honest exit codes."""

from __future__ import annotations

import importlib
import json
import shlex
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from chexalign.cli import doctor, list_, main
from chexalign.cli.options import print_rows

HEAVY = ("torch", "transformers", "pyarrow", "pandas", "numpy", "scipy", "pydantic")
VERBS = list(main.VERBS)

HELP_OF = """
import contextlib, io, sys
from chexalign.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    assert main({arguments}) == 0
print(*sorted({heavy} & sys.modules.keys()))
"""


def heavy_modules_after(arguments: list[str], heavy: tuple[str, ...]) -> list[str]:
    code = HELP_OF.format(arguments=arguments, heavy=set(heavy))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_help_imports_nothing_heavy_and_says_how_long_it_took(record_property):
    start = time.perf_counter()
    assert heavy_modules_after(["--help"], HEAVY) == []
    record_property("help_seconds", time.perf_counter() - start)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_imports_no_tensors_or_tables(verb):
    assert heavy_modules_after([verb, "--help"], HEAVY[:-1]) == []


def test_help_lists_every_verb_and_opens_with_an_example(capsys):
    assert main.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Example: chexalign ")
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  ")] == list(main.VERBS)
    assert main.main([]) == 0
    assert capsys.readouterr().out == out


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_opens_with_an_example_that_parses(verb, capsys):
    module = importlib.import_module(main.VERBS[verb][0])
    assert main.main([verb, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Example: {module.EXAMPLE}\n")
    command = shlex.split(module.EXAMPLE)
    assert command[:2] == ["chexalign", verb]
    main._parser(verb, module).parse_args(command[2:])


def test_version(capsys):
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == main.__version__


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["exlain"], "did you mean `chexalign explain`?"),
        (["explain"], "for example: chexalign explain demo"),
        (["explain", "demo", "--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["list", "jugdes"], "invalid choice: 'jugdes'"),
        (["explain", "demmo"], "did you mean 'demo'?"),
        (["explain", "demo", "--set", "train.betta=1"], "did you mean train.beta?"),
    ],
)
def test_a_users_mistake_is_three_lines_on_stderr_and_exit_code_2(arguments, told, capsys):
    assert main.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert told in captured.err
    assert len(captured.err.splitlines()) == 3


def fake_verb(monkeypatch: pytest.MonkeyPatch, outcome: Any) -> None:
    def run(args: object) -> int:
        if isinstance(outcome, BaseException):
            raise outcome
        return int(outcome)

    module = SimpleNamespace(HELP="h", EXAMPLE="chexalign fake", add_arguments=lambda parser: None, run=run)
    monkeypatch.setitem(main.VERBS, "fake", ("fake_verb", "fake"))
    monkeypatch.setitem(sys.modules, "fake_verb", module)  # type: ignore[arg-type]


def test_ctrl_c_says_that_the_run_can_go_on(monkeypatch, capsys):
    fake_verb(monkeypatch, KeyboardInterrupt())
    assert main.main(["fake"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_of_a_verb_is_passed_on(monkeypatch, code):
    fake_verb(monkeypatch, code)
    assert main.main(["fake"]) == code


def test_a_bug_is_not_dressed_up_as_the_users_mistake(monkeypatch):
    fake_verb(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main.main(["fake"])


def test_a_reader_that_stops_early_is_no_failure():
    command = (
        f"{shlex.quote(sys.executable)} -m chexalign.cli.main explain demo --json | head -1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[", "0"]
    assert done.stderr == ""


def test_explain_prints_json(capsys):
    assert main.main(["explain", "demo", "--json", "--set", "seed=5"]) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["seed"] == {"key": "seed", "value": 5, "origin": "--set", "doc": rows["seed"]["doc"]}


@pytest.mark.parametrize("kind", ["judges", "pair_rules", "recipes"])
def test_list_prints_json_and_columns(kind, capsys):
    assert main.main(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows
    assert all(row["name"] and row["what"] for row in rows)
    assert main.main(["list", kind]) == 0
    assert capsys.readouterr().out.startswith("NAME")


def test_list_shows_the_version_of_a_judge_that_has_it_only_once_made():
    class Made:
        def __init__(self) -> None:
            self.version = "1-of-what-is-installed"

    class Wrapper:
        def __init__(self, *, of: object) -> None:
            self.version = "never"

    assert list_._version("judges", Made) == "1-of-what-is-installed"
    assert list_._version("judges", Wrapper) is None
    assert list_._version("losses", Made) is None


def test_columns_that_are_empty_everywhere_are_left_out(capsys):
    print_rows([{"a": "x", "b": None, "c": 1}, {"a": "longer", "b": None, "c": [2]}], as_json=False)
    assert capsys.readouterr().out == "A       C\nx       1\nlonger  [2]\n"
    print_rows([], as_json=False)
    assert capsys.readouterr().out == ""


def test_doctor_tells_packages_from_what_was_measured(tmp_path, monkeypatch):
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("# pins\nPyYAML==1.0\n")
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["pyyaml>=6", "no-such-package", "x; extra == 'dev'"])
    yaml, nothing = doctor.package_versions(constraints)
    assert (yaml.status, nothing.status) == ("warn", "missing")
    assert "measured with 1.0" in yaml.todo
    assert nothing.todo == "pip install 'no-such-package'"


def test_doctor_finds_material_without_importing_it(monkeypatch):
    monkeypatch.setattr(
        doctor, "_MATERIAL", {"email": ("mime/text.py", "e", "mail"), "nowhere_at_all": ("x", "n==1", "it")}
    )
    there, missing = doctor.optional_material()
    assert there.status == "ok"
    assert (missing.status, missing.todo) == ("missing", "pip install --no-deps n==1")


def test_doctor_tells_what_may_use_the_network_and_what_reads_dicom(monkeypatch):
    monkeypatch.delenv("CHEXALIGN_ONLINE", raising=False)
    assert doctor.network().status == "ok"
    monkeypatch.setenv("CHEXALIGN_ONLINE", "1")
    assert (doctor.network().status, doctor.network().todo) == ("warn", "unset CHEXALIGN_ONLINE")
    monkeypatch.setattr(doctor, "_DICOM", {"one": "email", "two": "nowhere_at_all"})
    assert doctor.dicom().found == "two not installed"
    monkeypatch.setattr(doctor, "_DICOM", {"one": "email"})
    assert doctor.dicom().status == "ok"


def test_doctor_exits_1_only_when_a_run_would_fail(monkeypatch, capsys, runs_folder):
    monkeypatch.setattr(doctor, "torch_device", lambda: doctor.Check("compute", "ok", "a core"))
    assert main.main(["doctor", "--json", "--runs", str(runs_folder)]) == 0
    assert {row["check"] for row in json.loads(capsys.readouterr().out)} >= {"python", "disk", "memory"}
    monkeypatch.setattr(doctor, "package_versions", lambda: [doctor.Check("torch", "missing", "")])
    assert main.main(["doctor", "--runs", str(runs_folder)]) == 1


def test_disk_looks_at_the_nearest_folder_that_exists(tmp_path):
    assert str(tmp_path) in doctor.disk(tmp_path / "a" / "b").found


def test_demo_is_the_recipe_of_its_name(monkeypatch):
    seen = []
    monkeypatch.setattr("chexalign.cli.run.run", lambda args: seen.append((args.recipe, args.set)) or 0)
    assert main.main(["demo"]) == main.main(["demo", "--quick", "--set", "seed=3"]) == 0
    assert seen == [("demo", []), ("quick", ["seed=3"])]


def test_the_module_runs_as_a_script():
    done = subprocess.run([sys.executable, "-m", "chexalign.cli.main", "nope"], capture_output=True, text=True)
    assert done.returncode == 2
