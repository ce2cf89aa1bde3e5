"""A whole run on texts with a mark in them: the mark is in tables, report and exports, and nowhere else."""

from __future__ import annotations

import json
import stat
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.policy.hf import save_checkpoint
from tests.watched import Watched, watched

pytestmark = [pytest.mark.pipeline]

IN_REFERENCE, IN_INDICATION, IN_HEADER = "zebrafinch", "quokka", "WOMBAT"
MARKS = [mark.encode() for mark in (IN_REFERENCE, IN_INDICATION, IN_HEADER)]
SENTENCES = ["The lungs are clear.", "Small effusion on the left.", "The heart is large.", "No edema is seen."]
SPLIT = ["sft"] * 6 + ["prefer"] * 6 + ["validation"] * 2 + ["test"] * 3
TEXT_TABLES = ("studies", "prompts", "candidates", "scores", "predictions", "metrics")


def checkpoint(folder: Path) -> Path:
    """A policy with random weights, for which the mark is one token, so that it writes it after little training."""
    tokenizer = train_tokenizer([*SENTENCES, *[f"{IN_REFERENCE} {IN_REFERENCE}"] * 20], vocabulary=320)
    save_checkpoint(build_model(tokenizer, seed=3), build_processor(tokenizer), folder)
    return folder


def collection(folder: Path) -> Path:
    """A table of studies with marked texts; some images are DICOM with a marked header, or have 16 bits."""
    rng, rows = np.random.default_rng(0), []
    for i, split in enumerate(SPLIT):
        pixels = rng.integers(0, 4096, (48, 40), dtype=np.uint16)
        name = f"{i}.png"
        if i % 3 == 0 and find_spec("pydicom"):
            from tests.dicoms import as_bytes, dataset

            name = f"{i}.dcm"
            (folder / name).write_bytes(as_bytes(dataset(pixels, PatientName=IN_HEADER, InstitutionName=IN_HEADER)))
        else:
            Image.fromarray(pixels if i % 3 == 1 else (pixels // 16).astype(np.uint8)).save(folder / name)
        text = f"{IN_REFERENCE} {SENTENCES[i % len(SENTENCES)]}"
        row = {"id": f"s{i}", "patient": f"p{i}", "images": name, "findings": text}
        rows.append(row | {"indication": f"{IN_INDICATION} cough", "split": split})
    path = folder / "studies.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marked")


@pytest.fixture(scope="module")
def run(folder: Path) -> Watched:
    model = checkpoint(folder / "model")
    (folder / "data").mkdir()
    data = f"{{source: table, root: {collection(folder / 'data')}, license: ours, views: [frontal]}}"
    train = "{algorithm: dpo, beta: 0.1, learning_rate: 1.0e-4, epochs: 1, global_batch: 2}"
    settings = [
        f"data={data}",
        "data.split={sft: 6, prefer: 6, validation: 2, test: 3}",
        f"policy={{model: {model}, max_images: 1}}",
        "sft={epochs: 2, learning_rate: 5.0e-3, global_batch: 2}",
        f"arms={{dpo: {{judge: rouge_l, pairs: {{rule: best_worst, min_margin: 1.0e-8}}, train: {train}}}}}",
        "sample={n: 4, temperature: 1.0, max_new_tokens: 12, part_size: 3}",
        "evaluate={metrics: [rouge_l], bootstrap: 20, level: 0.90}",
        "workers=1",
    ]
    arguments = [part for item in settings for part in ("--set", item)]
    found = watched(["run", "quick", "--runs", str(folder / "runs"), *arguments], folder)
    assert found.done.returncode == 0, found.done.stderr[-4000:]
    return found


@pytest.fixture(scope="module")
def exported(run: Watched, folder: Path) -> Watched:
    to = folder / "runs" / "exported"
    recipe, runs = folder / "runs" / "quick" / "recipe.yaml", folder / "runs"
    found = watched(["export", str(recipe), "--runs", str(runs), "--to", str(to)], folder / "export")
    assert found.done.returncode == 0, found.done.stderr[-4000:]
    return found


def content(path: Path) -> bytes:
    """The bytes of a file, and of a table its values too."""
    values = str(pq.read_table(path).to_pylist()).encode() if path.suffix == ".parquet" else b""
    return path.read_bytes() + values


def marks(data: bytes) -> set[bytes]:
    return {mark for mark in MARKS if mark.lower() in data.lower()}


def test_the_marks_are_where_text_belongs(run: Watched, folder: Path) -> None:
    quick = folder / "runs" / "quick"
    tables = defaultdict[str, bytes](bytes)
    for path in quick.rglob("*.parquet"):
        tables[path.relative_to(quick).parts[0]] += content(path)
    assert marks(tables["studies"]) == {IN_REFERENCE.encode(), IN_INDICATION.encode()}
    assert IN_REFERENCE.encode() in marks(tables["candidates"])  # so that the other tests look for something
    assert IN_REFERENCE.encode() in marks((quick / "report.html").read_bytes())


def test_nothing_is_printed(run: Watched, exported: Watched) -> None:
    for done in (run.done, exported.done):
        assert marks((done.stdout + done.stderr).encode()) == set()


def test_nothing_else_that_is_written_holds_text(run: Watched, exported: Watched, folder: Path) -> None:
    runs = folder / "runs"
    files = [path for path in runs.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 50
    found = {str(path.relative_to(runs)): marks(content(path)) for path in files}
    assert [name for name, there in found.items() if IN_HEADER.encode() in there] == []
    assert [name for name, there in found.items() if there and not _text_is_due(name)] == []


def _text_is_due(name: str) -> bool:
    top, table, *_ = Path(name).parts
    if top == "exported":
        return name.endswith((".jsonl", ".parquet"))
    if name.endswith("tokenizer.json"):
        return True  # the test itself has put the mark there
    return (table in TEXT_TABLES and name.endswith(".parquet")) or table == "report.html"


def test_everything_is_the_owner_s_alone(run: Watched, exported: Watched, folder: Path) -> None:
    runs = folder / "runs"
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in [runs, *runs.rglob("*")] if not p.is_symlink()}
    open_to_others = {str(p.relative_to(folder)): oct(mode) for p, mode in modes.items() if mode & 0o077}
    assert open_to_others == {}
    assert {mode for p, mode in modes.items() if p.is_dir()} == {0o700}
    assert modes[runs / "quick" / "report.html"] == 0o600


def test_report_and_exports_say_that_they_hold_text(run: Watched, exported: Watched, folder: Path) -> None:
    html = (folder / "runs" / "quick" / "report.html").read_text()
    assert "report text" in html[: html.index("<main") if "<main" in html else 6000].lower()
    to = folder / "runs" / "exported"
    assert json.loads((to / "manifest.json").read_text())["extra"]["holds_report_text"] is True
    assert "report text" in next(to.glob("*.md")).read_text().lower()


def test_nothing_leaves_the_machine(run: Watched, exported: Watched) -> None:
    assert run.outward == exported.outward == []
