"""Planted leaks of every kind are found by their own check, and a clean folder passes all of them."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from PIL import Image

from chexalign.audit import image_hashes
from chexalign.audit.check import check_prepared
from chexalign.audit.contents import counts
from chexalign.audit.ledger import read_questions, read_studies
from chexalign.audit.tables import open_prepared
from chexalign.audit.verdict import Check, Splits, together, worst
from chexalign.data.counts import PUBLISHED
from chexalign.errors import UserError
from chexalign.store import MANIFEST, Manifest
from tests.prepared import clean, image, picture, question, study, write_tables

LONG = "The lungs are clear and well expanded " + " ".join(f"word{i}" for i in range(70)) + "."


def checks(root, **options):
    return {check.name: check for check in check_prepared(open_prepared(root), **options)}


def not_ok(found):
    return {name: check.status for name, check in found.items() if check.status not in ("ok", "skipped")}


def test_a_clean_folder_passes_every_check(tmp_path):
    rows = clean(tmp_path)
    asked = [question(i, "test" if row.split == "test" else "train", row.images) for i, row in enumerate(rows)]
    asked = [row for row, of in zip(asked, rows, strict=True) if of.split != "validation"]
    found = checks(write_tables(tmp_path, rows, {"made-up": asked}), near_texts=True)
    assert not_ok(found) == {}
    assert list(found) == [
        *("patients", "studies", "images", "near_images", "texts", "near_texts"),
        *("contradictions", "owners", "sections", "files", "counts"),
    ]
    assert found["counts"].status == "skipped"


def test_a_patient_in_two_splits(tmp_path):
    rows = clean(tmp_path)
    rows[1] = replace(rows[1], patient_id="patient2")
    found = checks(write_tables(tmp_path, rows))
    assert not_ok(found) == {"patients": "fail"}
    assert found["patients"].found == ({"patient": "patient2", "splits": "sft, test"},)


def test_splits_that_are_both_learned_from_only_warn(tmp_path):
    rows = clean(tmp_path)
    rows[3] = replace(rows[3], patient_id="patient2", split="prefer")
    assert not_ok(checks(write_tables(tmp_path, rows))) == {"patients": "warn"}


def test_a_study_in_two_splits_and_an_id_that_stands_twice(tmp_path):
    rows = clean(tmp_path)
    rows.append(replace(rows[2], split="test", images=(), reference="Another text altogether."))
    found = checks(write_tables(tmp_path, rows))
    assert not_ok(found) == {"patients": "fail", "studies": "fail"}
    assert found["studies"].found == (
        {"study": "study2", "splits": "sft, test"},
        {"id": "study2", "split": "test"},
    )


def test_the_bytes_of_an_image_in_two_splits(tmp_path):
    rows = clean(tmp_path)
    shutil.copy(tmp_path / "images/2.png", tmp_path / "images/copy.png")
    rows[1] = replace(rows[1], images=(replace(rows[2].images[0], path="images/copy.png"),))
    found = checks(write_tables(tmp_path, rows))
    assert not_ok(found) == {"images": "fail", "contradictions": "warn", "owners": "warn"}
    assert found["images"].found == ({"image": rows[2].images[0].sha256, "splits": "sft, test"},)
    assert found["owners"].found == ({"image": rows[2].images[0].sha256, "patients": "patient1, patient2"},)


def test_a_copy_of_an_image_in_two_splits(tmp_path):
    rows = clean(tmp_path)
    copy = picture(2).resize((140, 128)).point(lambda value: min(255, int(value * 1.1) + 5))
    rows[1] = replace(rows[1], images=(image(tmp_path, "copy.jpg", copy, quality=60),))
    found = checks(write_tables(tmp_path, rows))
    assert not_ok(found) == {"near_images": "fail"}
    (pair,) = found["near_images"].found
    assert {*pair["files"].split()} == {"images/2.png", "images/copy.jpg"}
    assert float(pair["differing"]) <= 0.02
    assert checks(tmp_path, images=False)["near_images"].status == "skipped"


def test_an_inverted_copy_in_two_splits(tmp_path):
    rows = clean(tmp_path)
    rows[0] = replace(rows[0], images=(image(tmp_path, "copy.jpg", picture(2).point(lambda value: 255 - value)),))
    found = checks(write_tables(tmp_path, rows))
    assert not_ok(found) == {"near_images": "fail"}
    assert found["near_images"].n == 1


def test_a_copy_within_a_split_is_no_leak(tmp_path):
    rows = clean(tmp_path)
    rows[3] = replace(rows[3], images=(image(tmp_path, "copy.jpg", picture(2)),))
    assert not_ok(checks(write_tables(tmp_path, rows))) == {}


def test_long_reports_in_two_splits(tmp_path):
    rows = clean(tmp_path)
    rows[1], rows[2] = replace(rows[1], reference=LONG), replace(rows[2], reference=LONG.upper())
    rows[3] = replace(rows[3], reference=LONG.replace("word30", "other"))
    found = checks(write_tables(tmp_path, rows), near_texts=True)
    assert not_ok(found) == {"texts": "warn", "near_texts": "warn"}
    assert [example["splits"] for example in found["texts"].found] == ["sft, test"]
    (pair,) = found["near_texts"].found
    assert {pair["study"], pair["other"]} == {"study1", "study3"}
    assert not any("lungs" in value for check in found.values() for e in check.found for value in e.values())


def test_short_reports_are_told_and_not_held_against_the_splits(tmp_path):
    rows = [replace(row, reference="No acute disease.") for row in clean(tmp_path)]
    check = checks(write_tables(tmp_path, rows))["texts"]
    assert (check.status, check.n) == ("ok", 1)
    assert "100% of the references of test are also learned from" in check.said


def test_one_question_with_two_answers(tmp_path):
    images = [image(tmp_path, "a.png", picture(1))]
    rows = [
        question(1, "train", images),
        question(1, "train", images, id="again", text="is there an EFFUSION", answers=("yes",)),
        question(1, "train", images, id="other", text="Is there an opacity?", answers=("yes",)),
        question(1, "train", images, id="place", options=("no", "yes", "maybe"), answers=("yes",)),
    ]
    found = checks(write_tables(tmp_path, questions={"made-up": rows}))
    assert not_ok(found) == {"contradictions": "warn"}
    assert found["contradictions"].found == ({"ids": "question1, again"},)


def test_empty_texts_and_sections_that_a_split_lacks(tmp_path):
    rows = [replace(row, indication=None if row.split == "test" else "Cough.") for row in clean(tmp_path)]
    rows[4] = replace(rows[4], reference="___ .")
    found = checks(write_tables(tmp_path, rows))
    assert not_ok(found) == {"sections": "warn"}
    assert {"study": "study4", "section": "reference", "split": "sft"} in found["sections"].found
    assert {"section": "indication", "splits": "validation 100%, test 0%"} in found["sections"].found


def test_files_that_are_gone_changed_damaged_or_empty(tmp_path):
    rows = clean(tmp_path)
    flat = image(tmp_path, "flat.png", Image.new("L", (40, 40), 7))
    rows.append(study(100, "sft", [flat]))
    write_tables(tmp_path, rows)
    assert not_ok(checks(tmp_path)) == {"files": "warn"}
    (tmp_path / "images/2.png").unlink()
    picture(500).save(tmp_path / "images/3.png")
    (tmp_path / "images/4.png").write_bytes((tmp_path / "images/4.png").read_bytes()[:200])
    found = checks(tmp_path)["files"]
    assert (found.status, found.n) == ("fail", 4)
    states = {example["file"]: example["state"] for example in found.found}
    assert states == {
        "images/2.png": "missing",
        "images/3.png": "changed",
        "images/4.png": "changed",
        "images/flat.png": "flat",
    }
    picture(2).save(tmp_path / "images/2.png")
    assert checks(tmp_path)["files"].n == 3, "a file that is back is looked at again"


def test_a_second_check_opens_no_image(tmp_path, monkeypatch):
    write_tables(tmp_path, clean(tmp_path))
    first = checks(tmp_path)

    def refuse(data):
        raise AssertionError("an image was decoded again")

    monkeypatch.setattr(image_hashes, "_signature", refuse)
    assert checks(tmp_path) == first


def test_tables_that_name_patients_alike_are_taken_together(tmp_path):
    rows = clean(tmp_path)
    asked = [question(i, "train", rows[i].images) for i in (1, 2)]
    found = checks(write_tables(tmp_path, rows, {"made-up": asked}))
    assert not_ok(found) == {"patients": "fail", "studies": "fail", "images": "fail"}
    assert found["patients"].found[0]["table"] == "studies + questions/made-up"


def test_the_same_id_in_another_collection_is_another_patient(tmp_path):
    asked = [question(i, "train", [image(tmp_path, f"q{i}.png", picture(900 + i))]) for i in (1, 2)]
    assert not_ok(checks(write_tables(tmp_path, clean(tmp_path), {"made-up": asked}))) == {}


def read_ledger_of(source, dropped):
    ledger = read_questions(source, [question(1, "train", source=source)], Splits())
    return counts(ledger, Manifest("questions", "", {}, {}, 0, 1, dropped, "", 0.0))


def test_published_counts():
    rows = [study(i, "sft", source="openi") for i in range(5)]
    ledger = read_studies(rows, Splits())
    left_out = PUBLISHED["openi"].n - 5

    def told(dropped):
        return counts(ledger, Manifest("studies", "", {}, {}, 0, 5, dropped, "", 0.0))

    assert told({"no_findings_section": left_out}).status == "ok"
    assert read_ledger_of("rsna", {"malformed_row": 3, "beyond_the_balance": PUBLISHED["rsna"].n - 1}).status == "ok"
    wrong = told({"no_findings_section": left_out - 1})
    assert (wrong.status, wrong.n) == ("warn", 1)
    assert "published are 3,955" in wrong.said


def test_verdicts_add_up():
    assert worst([]) == "ok"
    assert worst(["skipped", "ok", "warn"]) == "warn"
    both = together("x", [Check("x", "warn", 1, "a", ({"id": "1"},)), Check("x", "fail", 2, "b", ({"id": "2"},))])
    assert (both.status, both.n, both.found[0]) == ("fail", 3, {"id": "2"})


@pytest.mark.parametrize("what", ["no folder", "no tables", "one table", "unfinished", "damaged", "another's manifest"])
def test_folders_that_cannot_be_checked(tmp_path, what):
    root, other = tmp_path / "a", tmp_path / "b"
    write_tables(root, clean(root, 9))
    write_tables(other, clean(other, 8))
    if what == "no folder":
        shutil.rmtree(root)
    elif what == "no tables":
        shutil.rmtree(root / "studies")
    elif what == "one table":
        root = root / "studies"
    elif what == "unfinished":
        (root / "studies" / MANIFEST).unlink()
    elif what == "damaged":
        part = root / "studies/part-00001.parquet"
        part.write_bytes(part.read_bytes()[:-9])
    else:
        shutil.copy(other / "studies" / MANIFEST, root / "studies" / MANIFEST)
    told = {
        "no folder": "There is no folder",
        "no tables": "holds no prepared tables",
        "one table": "is a single table",
        "unfinished": "is not finished",
        "damaged": "part-00001.parquet is damaged",
        "another's manifest": "part-00000.parquet is damaged, missing, or a part of another table",
    }
    with pytest.raises(UserError, match=told[what]):
        open_prepared(root)


def test_a_manifest_of_other_rows_is_found(tmp_path):
    write_tables(tmp_path, clean(tmp_path, 9))
    path = tmp_path / "studies" / MANIFEST
    manifest = Manifest.load(path.parent)
    replace(manifest, parts=1).save(path.parent)
    with pytest.raises(UserError, match="belongs to another folder"):
        open_prepared(tmp_path)


def test_what_is_written_is_for_the_owner_alone(tmp_path):
    write_tables(tmp_path / "x", clean(tmp_path / "x", 3))
    checks(tmp_path / "x")
    for path in (tmp_path / "x/audit").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
