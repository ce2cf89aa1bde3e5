"""Statistics of prepared tables are right by hand, and the page on them is whole, private and without text."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import pytest
from PIL import Image

from chexalign.audit.describe import describe, quantile
from chexalign.audit.summary import summary
from chexalign.audit.tables import open_prepared
from chexalign.cli import main
from chexalign.present.data_page import render_page, write_page
from chexalign.types import Evidence
from tests.prepared import clean, image, picture, question, study, write_tables

EFFUSION = "There is a left pleural effusion, unmistakable wording."
CLEAR = "The lungs are clear. Nothing else."


@pytest.fixture
def root(tmp_path):
    """Three studies of two patients, and four questions."""
    front, side = image(tmp_path, "a.png", picture(1)), image(tmp_path, "b.png", picture(2, 200), "lateral")
    other, prior = image(tmp_path, "c.jpg", picture(3)), image(tmp_path, "d.png", picture(4))
    studies = [
        study(1, "sft", [front, side], patient_id="p1", reference=EFFUSION, codes=("Effusion/left", "Effusion/small")),
        study(2, "sft", [other, replace(prior, role="prior")], patient_id="p1", reference=CLEAR, indication=None),
        study(3, "test", [image(tmp_path, "e.png", picture(5))], patient_id="p3", reference=CLEAR, codes=("normal",)),
    ]
    box = (Evidence("box", "effusion", image=0, box=(0.1, 0.1, 0.5, 0.5)),)
    asked = [
        question(1, "train", [front], evidence=box, rationale="Because of the meniscus."),
        question(2, "train", [front], text="Again?", answers=("yes",)),
        question(3, "test", [other], task="vqa", part="where", answer_type="open", options=(), answers=("left base",)),
        question(4, "test", [other], options=("a", "b"), answer_type="choose", answers=("a", "b")),
        question(5, "test", [other], options=("no such finding anywhere in the lungs", "yes"), answers=("yes",)),
    ]
    return write_tables(tmp_path, studies, {"made-up": asked})


def test_statistics_of_studies_by_hand(root):
    found = summary(describe(open_prepared(root)))["studies"]
    assert found["splits"] == {
        "sft": {"rows": 2, "patients": 1, "images": 4, "rows_per_patient": {"median": 2, "max": 2}},
        "test": {"rows": 1, "patients": 1, "images": 1, "rows_per_patient": {"median": 1, "max": 1}},
    }
    assert found["views"] == {"frontal": {"sft": 2, "test": 1}, "frontal, prior": {"sft": 1}, "lateral": {"sft": 1}}
    assert found["image_px"]["width"] == {"min": 160, "median": 160, "max": 200}
    assert found["words"]["indication"]["sft"] == {"n": 1, "median": 1, "p95": 1, "max": 1}
    assert found["words"]["reference"]["sft"] == {"n": 2, "median": 6, "p95": 8, "max": 8}
    assert "impression" not in found["words"]
    assert found["labels"]["Pleural Effusion"] == {"sft": 0.5, "test": 0.0}
    assert found["labels"]["No Finding"] == {"sft": 0.5, "test": 1.0}
    assert found["codes"] == {"Effusion": 0.3333, "normal": 0.3333}
    assert found["vocabulary"] == {"words": 14, "once": 8}


def test_statistics_of_questions_by_hand(root):
    found = summary(describe(open_prepared(root)))["questions/made-up"]
    assert found["splits"]["test"] == {
        "rows": 3,
        "patients": 3,
        "images": 1,
        "rows_per_patient": {"median": 1, "max": 1},
    }
    parts = {(part["task"], part["part"], part["answer_type"]): part for part in found["parts"]}
    verify = parts["binary", "effusion", "verify"]
    assert (verify["questions"], verify["answers"], verify["free_answers"]) == (
        {"train": 2, "test": 1},
        {"no": 0.5, "yes": 0.5},
        1,
    )
    assert parts["vqa", "where", "open"]["answers"] == {}, "free answers are text"
    assert parts["binary", "effusion", "choose"]["several_answers"] == 1
    assert (found["with_rationale"], found["with_boxes"]) == (1, 1)


def test_quantiles_are_values_that_are_there():
    assert quantile(Counter(), 0.5) is None
    assert [quantile({3: 1, 5: 1}, share) for share in (0.0, 0.5, 0.51, 1.0)] == [3, 3, 5, 5]


def test_the_page_says_what_it_holds_and_shows_no_text(root, tmp_path):
    prepared = open_prepared(root)
    write_page(prepared, describe(prepared), tmp_path / "out/page.html")
    page = (tmp_path / "out/page.html").read_text()
    assert (tmp_path / "out/page.html").stat().st_mode & 0o077 == 0
    assert "This page holds patient data." in page
    for text in ("unmistakable", "meniscus", "left base", "Nothing else", "no such finding"):
        assert text not in page
    assert page.count("data:image/jpeg;base64,") >= 4
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert re.findall(r'(?:src|href|action)="(?!data:|#)', page) == []
    assert page.count("<svg") == 6


def test_ids_are_escaped_and_images_that_are_gone_are_left_out(tmp_path):
    rows = clean(tmp_path, 9)
    rows[0] = replace(rows[0], id="<b>bold</b>", license="<i>")
    write_tables(tmp_path, rows)
    for name in ("2.png", "3.png"):
        (tmp_path / "images" / name).unlink()
    (tmp_path / "images/4.png").write_bytes(b"no image")
    prepared = open_prepared(tmp_path)
    page = render_page(prepared, describe(prepared))
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page
    assert page.count("data:image/jpeg") == 6


def test_tables_without_images_or_of_one_split_have_a_page(tmp_path):
    write_tables(tmp_path, [study(1, "sft")], {"none": [question(1, "odd split")]})
    prepared = open_prepared(tmp_path)
    assert "No image could be opened." in render_page(prepared, describe(prepared))


def test_the_verb_prints_tables_or_json_and_writes_the_page(root, tmp_path, capsys):
    assert main.main(["data", "stats", str(root), "--out", str(tmp_path / "p.html")]) == 0
    captured = capsys.readouterr()
    assert "studies: labels of the references, share of studies" in captured.out
    assert "questions/made-up: parts (questions)" in captured.out
    assert "p.html holds patient data" in captured.err
    assert "unmistakable" not in captured.out
    assert main.main(["data", "stats", str(root), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"studies", "questions/made-up"}


def test_a_page_that_cannot_be_written_is_told(root, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main.main(["data", "stats", str(root), "--out", str(tmp_path / "file/p.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_gray_image_with_colors_is_shown_as_gray(tmp_path):
    rows = [study(1, "sft", [image(tmp_path, "rgb.png", Image.merge("RGB", [picture(1)] * 3))])]
    prepared = open_prepared(write_tables(tmp_path, rows))
    assert render_page(prepared, describe(prepared)).count("data:image/jpeg") == 1
