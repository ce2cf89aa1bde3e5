"""`chexalign data`: prepare, check and stats from the command line, and what they say to mistakes."""

from __future__ import annotations

import json
import shutil

import pytest

from chexalign.cli import main
from chexalign.data import collect
from chexalign.data.questions import Draft, Picture, QuestionItem
from chexalign.registry import Entry, Registry
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from tests.prepared import clean, picture, write_tables
from tests.recipes import EXAMPLE
from tests.trees import mimic_tree, openi_tree, table_rows, write_table


class Asks:
    """Two questions about each image of a folder."""

    name, license = "asks", "none"

    def __init__(self, *, root, language: str = "en", kinds: tuple[str, ...] = ()) -> None:
        self.root, self.language, self.kinds = root, language, kinds

    def items(self):
        paths = sorted(self.root.glob("*.png"))
        drafts = tuple(Draft(n, "vqa", "view", "open", f"Which {n}?", (), ("none",)) for n in ("view", "side"))
        items = [
            QuestionItem(path.stem, path.stem, ("train", "test")[i % 2], (Picture(str(path), "frontal"),), drafts)
            for i, path in enumerate(paths)
        ]
        return items, {"malformed_row": 1}


@pytest.fixture
def asks(monkeypatch):
    """A registry of questions that knows one source."""
    known = {kind: Registry(kind) for kind in ("datasets", "policies")}
    known["questions"] = Registry("questions", [Entry("questions", "asks", f"{__name__}:Asks", "tests")])
    for module in ("chexalign.cli.data_prepare", "chexalign.data.collect"):
        monkeypatch.setattr(f"{module}.registry", known.__getitem__)


def told(capsys, *arguments, code=0):
    assert main.main(["data", *map(str, arguments)]) == code
    captured = capsys.readouterr()
    return captured.out if code < 2 else captured.err


def test_all_studies_of_official_splits_are_prepared_and_pass_the_check(tmp_path, capsys):
    root, out = mimic_tree(tmp_path / "mimic"), tmp_path / "out"
    first = told(capsys, "prepare", "mimic-cxr", "--root", root, "--out", out)
    rows = RunFolder(out).studies.rows()
    assert {row.split for row in rows} == {"sft", "validation", "test"}
    assert f"{out / 'studies'}: {len(rows)} rows" in first
    assert "dropped: no_findings_section" in first
    before = (out / "studies/part-00000.parquet").stat().st_mtime_ns
    assert told(capsys, "prepare", "mimic-cxr", "--root", root, "--out", out) == first
    assert (out / "studies/part-00000.parquet").stat().st_mtime_ns == before, "what is done is not done again"
    found = json.loads(told(capsys, "check", out, "--json"))
    assert [check["name"] for check in found["checks"] if check["status"] != "ok"] == ["counts"]
    for path in (out, *out.rglob("[!.]*")):
        assert path.stat().st_mode & 0o077 == 0


def test_a_split_that_the_collection_lacks_is_left_out(tmp_path, capsys):
    folder = tmp_path / "own"
    rows = [row | {"split": "train" if n < 8 else "test"} for n, row in enumerate(table_rows(folder))]
    table = write_table(folder / "studies.jsonl", rows)
    told(capsys, "prepare", "table", "--root", table, "--out", tmp_path / "out")
    assert {row.split for row in RunFolder(tmp_path / "out").studies.rows()} == {"sft", "test"}


def test_a_collection_without_splits_asks_for_them(tmp_path, capsys):
    root, out = openi_tree(tmp_path / "openi"), tmp_path / "out"
    error = told(capsys, "prepare", "openi", "--root", root, "--out", out, code=2)
    assert "--split is missing, and openi has no official splits." in error
    assert not out.exists()
    told(capsys, "prepare", "openi", "--root", root, "--out", out, "--split", "sft=6,test=2", "--workers", 2)
    assert len(RunFolder(out).studies.rows()) == 8


def test_options_are_what_their_annotations_say(tmp_path, capsys):
    root, out = mimic_tree(tmp_path / "mimic"), tmp_path / "out"
    flags = [
        "--option",
        "prior=true",
        "--option",
        "views=[lateral]",
        "--option",
        "normalizer=chexalign-clean",
        "--limit",
        "9",
    ]
    said = told(capsys, "prepare", "mimic-cxr", "--root", root, "--out", out, *flags)
    rows = RunFolder(out).studies.rows()
    assert {image.view for row in rows for image in row.images if image.role == "current"} == {"lateral"}
    assert "beyond_the_limit" in said
    manifest = Manifest.load(out / "studies")
    assert manifest is not None
    assert manifest.rows + sum(n for reason, n in manifest.dropped.items() if reason != "beyond_the_limit") == 9


def test_questions_go_to_a_table_of_their_own(tmp_path, capsys, asks):
    for n in range(5):
        (tmp_path / "in").mkdir(exist_ok=True)
        picture(n).save(tmp_path / f"in/{n}.png")
    (tmp_path / "in/4.png").write_bytes(b"no image")
    flags = ["--out", tmp_path / "out", "--root", tmp_path / "in", "--option", "kinds=[a, b]", "--json"]
    rows = json.loads(told(capsys, "prepare", "asks", *flags))
    assert rows[str(tmp_path / "out/questions/asks")]["rows"] == 8
    assert rows[str(tmp_path / "out/questions/asks")]["dropped"] == {"image_unreadable": 2, "malformed_row": 1}
    told(capsys, "check", tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "asks", "--split", "sft=1"], "is a source of questions, which has its splits"),
        (["prepare", "asks", "--option", "langage=de"], "Did you mean language?"),
        (["prepare", "asks", "--option", "language=[1]"], "The option language is '[1]'."),
        (["prepare", "asks", "--option", "language"], "an option is a name, = and a value"),
        (["prepare", "asks", "--limit", "0"], "at least one item is needed"),
        (["prepare", "asks", "--set", "seed=1"], "asks is no recipe"),
        (["prepare", "mimic-cxr", "--split", "sft=1,train=2"], "each split is one of sft, prefer, validation, test"),
        (["prepare", "mimic-cxr", "--option", "normalizer=tidy"], "The option normalizer is 'tidy'."),
        (["prepare", "mimic-cxr"], "data.root is missing."),
        (["prepare", "mimic-cxr", "--root", "no/such"], "data.root is no/such, which is not a folder."),
        (["prepare", "mimic-cx"], "did you mean 'mimic-cxr'?"),
        (["prepare", "demo", "--limit", "3"], "--limit with the recipe demo"),
    ],
)
def test_mistakes_of_prepare(tmp_path, capsys, asks, arguments, message):
    named = arguments[1] in ("demo", "mimic-cx")
    where = [] if named else ["--out", str(tmp_path / "out")]
    root = ["--root", str(tmp_path)] if arguments[1] == "asks" else []
    error = told(capsys, *arguments, *where, *root, code=2)
    assert message in error
    assert len(error.splitlines()) == 3


def test_an_option_that_is_needed_is_named(tmp_path, capsys, asks):
    error = told(capsys, "prepare", "asks", "--out", tmp_path, code=2)
    assert error.splitlines() == ["The option root is missing.", "asks cannot be read without it.", "Add --root DIR"]
    assert "--out is missing." in told(capsys, "prepare", "asks", "--root", tmp_path, code=2)


def test_a_folder_with_other_tables_is_refused(tmp_path, capsys):
    root, out = mimic_tree(tmp_path / "mimic"), tmp_path / "out"
    told(capsys, "prepare", "mimic-cxr", "--root", root, "--out", out, "--limit", 5)
    error = told(capsys, "prepare", "mimic-cxr", "--root", root, "--out", out, "--limit", 6, code=2)
    assert "holds another table (different: limit)." in error
    (out / "studies" / collect.ASKED).unlink()
    error = told(capsys, "prepare", "mimic-cxr", "--root", root, "--out", out, "--limit", 5, code=2)
    assert "holds another table" in error
    (out / "recipe.yaml").write_text("run: x")
    error = told(capsys, "prepare", "mimic-cxr", "--root", root, "--out", out, code=2)
    assert "is the folder of a run." in error


def test_the_studies_of_a_recipe_are_those_that_its_run_goes_on_from(tmp_path, capsys):
    root = mimic_tree(tmp_path / "mimic")
    data = f"data: {{source: mimic-cxr, root: {root}, split: {{sft: 8, prefer: 4, validation: 2, test: 2}}}}"
    recipe, runs = tmp_path / "x.yaml", tmp_path / "runs"
    old = next(line for line in EXAMPLE.splitlines() if line.startswith("data:"))
    recipe.write_text(EXAMPLE.replace(old, data))
    assert "has no run in" in told(capsys, "check", recipe, "--runs", runs, code=2)
    told(capsys, "prepare", recipe, "--runs", runs, "--workers", 2)
    manifest = Manifest.load(runs / "example/studies")
    from chexalign.recipe.load import load_recipe
    from chexalign.run_open import open_run
    from chexalign.workflow import Workflow

    loaded = load_recipe(recipe)
    assert Workflow(loaded, open_run(loaded, runs)).studies() == manifest
    shutil.rmtree(root)
    (runs / "example/studies/manifest.json").unlink()
    assert "is not a folder" in told(capsys, "prepare", recipe, "--runs", runs, code=2)


def test_the_questions_of_a_recipe_are_made_with_its_studies_and_checked_with_them(tmp_path, capsys, asks):
    root, runs, recipe = mimic_tree(tmp_path / "mimic"), tmp_path / "runs", tmp_path / "x.yaml"
    picture(1).save(tmp_path / "1.png")
    data = f"data: {{source: mimic-cxr, root: {root}, split: {{sft: 8, prefer: 4, validation: 2, test: 2}}}}"
    old = next(line for line in EXAMPLE.splitlines() if line.startswith("data:"))
    asked = f"questions: {{collections: [{{source: asks, root: {tmp_path}}}]}}"
    recipe.write_text(EXAMPLE.replace(old, f"{data}\n{asked}"))
    said = told(capsys, "prepare", recipe, "--runs", runs)
    assert f"{runs / 'example/questions/asks'}: 2 rows, 1 dropped: malformed_row" in said
    checked = told(capsys, "check", recipe, "--runs", runs)
    assert "looked at, none in two splits; 1 looked at, none in two splits" in checked


def test_check_prints_a_verdict_and_no_text(tmp_path, capsys):
    rows = clean(tmp_path / "x")
    write_tables(tmp_path / "x", [*rows, rows[0]])
    out = told(capsys, "check", tmp_path / "x", "--show", 1, code=1)
    assert out.splitlines()[-1] == f"{tmp_path / 'x'}: fail"
    assert "\nstudies:\n  id study0  split validation\n" in out
    assert "heart" not in out
    told(capsys, "check", tmp_path / "x", "--no-images", code=1)
    assert "neither a folder nor a recipe" in told(capsys, "check", tmp_path / "nothing", code=2)
