"""Files as the CheXalign authors' scripts save them, made here by hand, become tables of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from chexalign.cli import main
from chexalign.data.chexalign_import import NO_SCORE, import_chexalign
from chexalign.errors import UserError
from chexalign.run_folder import RunFolder

FINDINGS = ("No effusion.", "Small left effusion.", "The heart is large.")
PATH = "files/p10/p10000032/s5{i}/a.jpg"


def save(folder: Path, rows: list[dict], split: str | None = "train") -> Path:
    """As `save_to_disk` does: an Arrow stream in the folder, or in that of the split."""
    place = folder / split if split else folder
    place.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(place / "data-00000-of-00001.arrow", table.schema) as stream:
        stream.write_table(table)
    if split:
        (folder / "dataset_dict.json").write_text(json.dumps({"splits": [split]}))
    return folder


def completions(n: int = 3, **more) -> list[dict]:
    return [
        {
            "data_source": "MIMIC-CXR",
            "image_path": [PATH.format(i=i)],
            "section_indication": "cough" if i else None,
            "section_findings": FINDINGS[i],
            "prompt": f"Question {i}?",
            **{f"candidate_findings_{d}": f"Text {i} {d}." for d in range(1, 5)},
            **{name: values[i] for name, values in more.items()},
        }
        for i in range(n)
    ]


def chunk(d: int, values: list[float | None]) -> list[dict]:
    return completions(**{f"green_scores{d}": values})


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


def test_completions_and_chunks_are_put_together(tmp_path, run):
    scored = [chunk(1, [0.5, 0.0, 1.0]), chunk(2, [0.25, 0.0, None]), chunk(3, [0.75, 0.0, float("nan")])]
    folders = [save(tmp_path / "all", completions())]
    folders += [save(tmp_path / f"chunk{d}", rows) for d, rows in enumerate(scored)]
    made = import_chexalign(folders, run)
    assert {name: m.rows for name, m in made.items()} == {
        "studies": 3,
        "prompts": 3,
        "candidates": 12,
        "scores/green": 12,
    }
    assert made["studies"].dropped == {"image_missing": 3}
    assert {s.patient_id for s in run.studies.rows()} == {"p10000032"}
    assert [s.indication for s in run.studies.rows()] == [None, "cough", "cough"]
    draws = {c.id: (c.text, c.draw) for c in run.candidates.rows()}
    found = {draws[s.candidate_id]: (s.value, s.status, s.reason) for s in run.scores("green").rows()}
    assert found["Text 0 3.", 2] == (0.75, "ok", None)
    assert found["Text 2 2.", 1] == found["Text 2 3.", 2] == (None, "unparsed", None)
    assert found["Text 0 4.", 3] == (None, "error", NO_SCORE)


def test_their_pairs_keep_texts_scores_and_images(tmp_path, run):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "x.png")
    row = {
        "prompt": "Picture 1:<|img|>x.png<|/img|>\nPicture 2:<|img|>y.png<|/img|>\nWrite findings.",
        "chosen": "No effusion is seen.",
        "rejected": "Effusion.",
        "reference": "No effusion.",
        "reward_chosen": 0.75,
        "reward_rejected": 0.25,
    }
    made = import_chexalign([save(tmp_path / "final", [row, row])], run, images=tmp_path)
    assert made["pairs/imported"].rows == 1
    (pair,) = run.pairs("imported").rows()
    assert (pair.margin, pair.delta_words) == (0.5, 3)
    texts = {c.id: c.text for c in run.candidates.rows()}
    assert (texts[pair.chosen_id], texts[pair.rejected_id]) == ("No effusion is seen.", "Effusion.")
    assert run.prompts.rows()[0].text == "Write findings."
    assert [image.height_px for image in run.studies.rows()[0].images] == [8]


def test_the_verb_pairs_what_it_imported_by_the_papers_rule(tmp_path, run, capsys):
    values = {f"green_scores{d}": [0.1 * d, 0.5, None] for d in range(1, 5)}
    folder = save(tmp_path / "gathered", completions(**values), split=None)
    assert main.main(["import", str(folder), "--to", str(run.root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told[str(run.root / "pairs" / "green")]["dropped"] == {"fewer_than_two_scored": 1, "tie": 1}
    (pair,) = run.pairs("green").rows()
    texts = {c.id: c.text for c in run.candidates.rows()}
    assert (texts[pair.chosen_id], texts[pair.rejected_id]) == ("Text 0 4.", "Text 0 1.")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"question": "Secret?", "answer": "x"}], "neither completions nor pairs"),
        ([{"prompt": "?", "completion": "Secret.", "label": True}], "KTO data holds no more"),
    ],
)
def test_other_files_are_told_without_text(tmp_path, run, rows, told):
    with pytest.raises(UserError, match=told) as error:
        import_chexalign([save(tmp_path / "x", rows)], run)
    assert "Secret" not in str(error.value)


def test_what_is_refused(tmp_path, run):
    with pytest.raises(UserError, match="no saved dataset"):
        import_chexalign([tmp_path / "nowhere"], run)
    twice = [save(tmp_path / "a", chunk(1, [0.5, 0, 0])), save(tmp_path / "b", chunk(1, [0.6, 0, 0]))]
    with pytest.raises(UserError, match="two scores by green"):
        import_chexalign(twice, run)
    broken = save(tmp_path / "c", completions())
    path = broken / "train" / "data-00000-of-00001.arrow"
    path.write_bytes(b"no stream")
    with pytest.raises(UserError, match="cannot be read"):
        import_chexalign([broken], run)
    run.root.mkdir()
    (run.root / "recipe.yaml").touch()
    with pytest.raises(UserError, match="not empty"):
        import_chexalign([twice[0]], run)


def test_a_row_without_a_reference_is_counted(tmp_path, run):
    rows = completions()
    rows[0]["section_findings"] = " "
    made = import_chexalign([save(tmp_path / "a", rows)], run)
    assert made["studies"].dropped == {"findings_empty": 1, "image_missing": 2}
