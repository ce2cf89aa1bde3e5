"""What an export holds, in each format, and what it refuses."""

import json
import stat

import pyarrow.parquet as pq
import pytest

from chexalign.cli import main
from chexalign.errors import UserError
from chexalign.pairs.export import export
from chexalign.pairs.export_formats import FORMATS
from chexalign.pairs.verdicts import verdict_table
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from chexalign.types import Candidate, ImageRef, Pair, Prompt, Study, Verdict

IMAGES = tuple(ImageRef(f"images/{i}.png", "0" * 64, "frontal", 8, 8) for i in range(3))
STUDIES = [
    Study(f"s{i}", f"patient{i}", IMAGES, None, f"Reference {i}.", None, (), "prefer", "made", "CC0") for i in range(2)
]
PROMPTS = [Prompt(f"p{i}", f"s{i}", "findings", f"Question {i}?", "t@1") for i in range(2)]
CANDIDATES = [
    Candidate(f"c{p}{d}", f"p{p}", f"Text {p} {d} é.", 5, None, "stop", d, "tiny") for p in range(2) for d in range(2)
]
PAIRS = [Pair(f"pair{p}", f"p{p}", f"c{p}1", f"c{p}0", 0.5, 0, "chexpert@1", "best_worst") for p in range(2)]
VERDICTS = [Verdict("c00", "p0", False, 1.0, "chexpert@1", "above_mean"), Verdict("c11", "p1", True, 1.0, "j@1", "r")]


def write(table, rows, **more):
    table.write_part(0, rows, fingerprint="f")
    Manifest("pairs", "f", {}, {"blocks": []}, 0, len(rows), more, "content", 0.0).save(table.folder)


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "run")
    for table, rows in (
        *((run.studies, STUDIES), (run.prompts, PROMPTS), (run.candidates, CANDIDATES)),
        *((run.pairs("a"), PAIRS), (verdict_table(run, "k"), VERDICTS)),
    ):
        write(table, rows, tie=3)
    return run


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_trl(run, tmp_path):
    to = tmp_path / "out"
    manifest = export(run, run.pairs("a"), to, format="trl", max_images=2)
    table = pq.read_table(to / "train.parquet")
    first = table.to_pylist()[0]
    assert first["prompt"] == [{"role": "user", "content": "Question 0?"}]
    assert first["chosen"] == [{"role": "assistant", "content": "Text 0 1 é."}]
    assert first["rejected"] == [{"role": "assistant", "content": "Text 0 0 é."}]
    assert first["images"] == [{"bytes": None, "path": str(run.root / f"images/{i}.png")} for i in range(2)]
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features.keys() == set(table.column_names)
    assert features["images"] == [{"_type": "Image"}]
    assert (manifest.rows, manifest.extra["holds_report_text"]) == (2, True)


def test_trl_unpaired_of_pairs_and_of_verdicts(run, tmp_path):
    export(run, run.pairs("a"), tmp_path / "out", format="trl-unpaired", max_images=1)
    rows = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    told = [(r["completion"][0]["content"], r["label"]) for r in rows]
    assert told[:2] == [("Text 0 1 é.", True), ("Text 0 0 é.", False)]
    export(run, verdict_table(run, "k"), tmp_path / "out", format="trl-unpaired", max_images=1)
    rows = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    assert [(r["completion"][0]["content"], r["label"]) for r in rows] == [
        ("Text 0 0 é.", False),
        ("Text 1 1 é.", True),
    ]


def test_ms_swift(run, tmp_path):
    export(run, run.pairs("a"), tmp_path / "out", format="ms-swift", max_images=2)
    first = lines(tmp_path / "out" / "train.jsonl")[0]
    assert first["messages"] == [
        {"role": "user", "content": "<image><image>Question 0?"},
        {"role": "assistant", "content": "Text 0 1 é."},
    ]
    assert first["rejected_response"] == "Text 0 0 é."
    assert len(first["images"]) == 2
    export(run, verdict_table(run, "k"), tmp_path / "k", format="ms-swift", max_images=2)
    assert [row["label"] for row in lines(tmp_path / "k" / "train.jsonl")] == [False, True]


def test_jsonl_holds_all_that_is_known(run, tmp_path):
    export(run, run.pairs("a"), tmp_path / "out", format="jsonl", max_images=2)
    first = lines(tmp_path / "out" / "train.jsonl")[0]
    assert first["reference"] == "Reference 0."
    assert (first["patient_id"], first["margin"], first["judge"]) == ("patient0", 0.5, "chexpert@1")
    export(run, verdict_table(run, "k"), tmp_path / "k", format="jsonl", max_images=2)
    assert lines(tmp_path / "k" / "train.jsonl")[1]["desirable"] is True


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_is_for_its_owner_alone_and_its_card_and_manifest_hold_no_text(run, tmp_path, format):
    to = tmp_path / "new" / "out"
    export(run, run.pairs("a"), to, format=format, max_images=2)
    assert stat.S_IMODE(to.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in to.iterdir()} == {0o600}
    told = (to / "README.md").read_text() + (to / "manifest.json").read_text()
    assert "Text 0" not in told
    assert "Reference" not in told
    assert "Question" not in told
    assert "tie 3" in told
    assert "License of the studies: CC0" in told
    first = Manifest.load(to)
    again = export(run, run.pairs("a"), to, format=format, max_images=2)
    assert first is not None
    assert (again.content, again.fingerprint) == (first.content, first.fingerprint)


def test_one_format_replaces_another(run, tmp_path):
    to = tmp_path / "out"
    export(run, run.pairs("a"), to, format="trl", max_images=2)
    (to / ".train.jsonl.x.tmp").touch()
    export(run, run.pairs("a"), to, format="jsonl", max_images=2)
    assert {path.name for path in to.iterdir()} == {"train.jsonl", "README.md", "manifest.json"}


def test_a_write_that_fails_leaves_no_manifest(run, tmp_path, monkeypatch):
    to = tmp_path / "out"
    export(run, run.pairs("a"), to, format="trl", max_images=2)
    monkeypatch.setattr("chexalign.pairs.export._write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(run, run.pairs("a"), to, format="trl", max_images=2)
    assert list(to.iterdir()) == []


def test_what_is_refused(run, tmp_path):
    with pytest.raises(UserError, match="trl-unpaired"):
        export(run, verdict_table(run, "k"), tmp_path / "out", format="trl", max_images=2)
    with pytest.raises(UserError, match="not finished"):
        export(run, run.pairs("b"), tmp_path / "out", format="trl", max_images=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.docx").touch()
    with pytest.raises(UserError, match="something other"):
        export(run, run.pairs("a"), tmp_path / "full", format="trl", max_images=2)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.docx"]


@pytest.mark.parametrize(
    ("more", "told"),
    [((), "no --arm"), (("--arm", "dpo_lable"), "--arm dpo_lable"), (("--arm", "dpo_label"), "there is no run")],
)
def test_the_verb_refuses_what_it_cannot_export(runs_folder, tmp_path, capsys, more, told):
    command = ["export", "quick", "--to", str(tmp_path / "out"), "--runs", str(runs_folder), *more]
    assert main.main(command) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 3
