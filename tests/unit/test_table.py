"""Tables of one's own, in every format, with the mistakes that such tables have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chexalign.data.base import DropStudyError
from chexalign.data.table import Table
from chexalign.errors import UserError
from chexalign.recipe import ColumnsSpec
from tests import trees

SPLIT = {"sft": 4, "prefer": 2, "validation": 2, "test": 4}
BOTH = ("frontal", "lateral")


@pytest.fixture
def rows(tmp_path):
    return trees.table_rows(tmp_path)


def items_of(path: Path, **options) -> tuple[list, dict[str, int]]:
    return Table(**{"split": SPLIT, "views": BOTH, "root": path} | options).items()


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
def test_every_format_gives_the_same_studies(rows, tmp_path, name):
    items, dropped = items_of(trees.write_table(tmp_path / name, rows))
    expected, _ = items_of(trees.write_table(tmp_path / "u.jsonl", rows))
    assert items == expected
    assert (len(items), dropped) == (12, {})


def test_a_study_by_hand(rows, tmp_path):
    path = trees.write_table(tmp_path / "t.csv", rows)
    dataset = Table(split=SPLIT, views=BOTH, root=path, license="ours")
    study = next(dataset.study(i, Path("unused")) for i in dataset.items()[0] if i.id == "study1")
    assert (study.patient_id, study.reference, study.indication) == ("p0", trees.FINDINGS[1], "Cough.")
    assert (study.impression, study.license, study.source) == (None, "ours", "table")
    assert [(Path(i.path).name, i.view) for i in study.images] == [("1_f.png", "frontal"), ("1_l.jpg", "lateral")]
    assert Table(split=SPLIT, root=path).license == "not stated"


def test_patients_are_in_one_split(rows, tmp_path):
    items, _ = items_of(trees.write_table(tmp_path / "t.csv", rows))
    splits = {patient: {i.split for i in items if i.payload.patient == patient} for patient in ("p0", "p1", "p2", "p3")}
    assert all(len(found) == 1 for found in splits.values())


def test_columns_may_have_other_names(rows, tmp_path):
    renamed = [{"acc": r["id"], "mrn": r["patient"], "file": r["images"], "text": r["findings"]} for r in rows]
    columns = ColumnsSpec(id="acc", patient="mrn", images="file", findings="text")
    items, _ = items_of(trees.write_table(tmp_path / "t.jsonl", renamed), columns=columns)
    assert len(items) == 12
    assert [view for _, view in items[0].payload.images] == ["unknown", "unknown"]  # no column of views: all are kept


def test_a_row_may_hold_one_image(rows, tmp_path):
    single = [{**r, "images": i, "view": v} for r in rows for i, v in zip(r["images"], r["view"], strict=True)]
    items, _ = items_of(trees.write_table(tmp_path / "t.csv", single))
    whole, _ = items_of(trees.write_table(tmp_path / "u.csv", rows))
    assert items == whole


def test_wanted_views_alone_are_taken(rows, tmp_path):
    items, _ = items_of(trees.write_table(tmp_path / "t.csv", rows), views=("lateral",))
    assert {view for item in items for _, view in item.payload.images} == {"lateral"}


def test_the_table_s_own_splits(rows, tmp_path):
    words = ["train", "train", "train", "val", "dev", "test"]
    told = [{**r, "split": words[n // 2]} for n, r in enumerate(rows)]
    items, dropped = items_of(trees.write_table(tmp_path / "t.csv", told), split={**SPLIT, "sft": 2})
    found = {name: sum(item.split == name for item in items) for name in SPLIT}
    assert found == {"sft": 2, "prefer": 2, "validation": 2, "test": 2}
    assert dropped == {"beyond_the_split": 4}


def test_a_patient_in_two_splits_stays_in_the_held_out_one(rows, tmp_path):
    told = [{**r, "split": "test" if n in (0, 11) else "train"} for n, r in enumerate(rows)]
    items, dropped = items_of(trees.write_table(tmp_path / "t.csv", told), split={"sft": 99, "test": 9})
    assert dropped == {"patient_in_another_split": 2}
    assert not {"study1", "study10"} & {item.id for item in items}


def test_a_word_that_is_no_split_and_a_split_that_gets_nothing(rows, tmp_path):
    told = [{**r, "split": "holdout" if n < 2 else "train"} for n, r in enumerate(rows)]
    path = trees.write_table(tmp_path / "t.csv", told)
    assert items_of(path, split={"sft": 99})[1] == {"unknown_split": 2}
    with pytest.raises(UserError, match=r"data\.split\.test has no study"):
        items_of(path, split={"sft": 4, "test": 4})


def test_every_row_that_is_left_out_has_a_reason(rows, tmp_path):
    bad = [dict(row) for row in rows]
    bad[0]["findings"] = None
    bad[1]["findings"] = float("nan")
    bad[2]["images"] = []
    bad[3]["images"] = ["img/none.png"]
    bad[4]["images"] = ["../../etc/hostname"]
    bad[5]["id"] = ""
    bad[6]["findings"] = {"a": 1}
    bad[7] |= {"id": "study8"}
    bad[9]["view"] = ["oblique", "oblique"]
    path = trees.write_table(tmp_path / "t.jsonl", bad)
    path.write_text(path.read_text() + "{cut\n[1]\n\n")
    items, dropped = items_of(path, split={"test": 3})
    assert sorted(item.id for item in items) == ["study10", "study11", "study8"]
    assert dropped == {
        "findings_empty": 2,
        "no_image_of_the_views": 2,
        "image_missing": 1,
        "image_outside_the_folder": 1,
        "malformed_row": 4,
        "id_of_another_study": 1,
    }


def test_a_damaged_image_is_dropped_when_the_study_is_made(rows, tmp_path):
    path = trees.write_table(tmp_path / "t.csv", rows)
    for name, cut in (("img/0_l.jpg", -2), ("img/1_f.png", -30)):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:cut])
    dataset = Table(split=SPLIT, views=BOTH, root=path)
    for item in dataset.items()[0]:
        if item.id in ("study0", "study1"):
            with pytest.raises(DropStudyError, match="image_unreadable"):
                dataset.study(item, Path("unused"))
        else:
            dataset.study(item, Path("unused"))


def test_a_missing_column_names_those_that_there_are(rows, tmp_path):
    path = trees.write_table(tmp_path / "t.csv", [{"id": r["id"], "text": r["findings"]} for r in rows])
    with pytest.raises(UserError, match="has no column 'patient'") as caught:
        items_of(path)
    assert "id, text" in caught.value.why
    with pytest.raises(UserError, match="has no column 'indic'"):
        items_of(trees.write_table(tmp_path / "u.csv", rows), columns=ColumnsSpec(indication="indic"))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("t.xlsx", b"", "Known by their endings"),
        ("t.csv", b"id,patient\n\xff\xfe", "no UTF-8 text"),
        ("t.csv.gz", b"no gzip", "damaged"),
        ("t.parquet", b"PAR1", "damaged"),
        ("none.csv", None, "missing"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, name, content, why):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        items_of(tmp_path / name)
    assert why in caught.value.why


def test_images_inside_a_table_are_for_another_dataset(tmp_path):
    for n, cell in enumerate(({"bytes": b"x", "path": None}, [{"bytes": b"x", "path": None}], b"x")):
        row = {"id": "a", "patient": "p", "images": cell, "findings": "Clear."}
        with pytest.raises(UserError, match="holds the images themselves") as caught:
            items_of(trees.write_table(tmp_path / f"t{n}.parquet", [row]))
        assert "hf-disk" in caught.value.fix


def test_too_few_and_no_file(rows, tmp_path):
    with pytest.raises(UserError, match="asks for 99"):
        items_of(trees.write_table(tmp_path / "t.csv", rows), split={"test": 99})
    with pytest.raises(UserError, match=r"data\.root is missing"):
        Table(split=SPLIT).items()


CELLS = st.none() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.text(max_size=8), max_size=3)


@given(lines=st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(ColumnsSpec.model_fields, CELLS)), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_no_row_ends_the_reading(lines, tmp_path):
    path = tmp_path / "any.jsonl"
    first = {"id": "a", "patient": "p", "images": "x.png", "findings": "Clear."}
    path.write_text("".join(json.dumps(line) + "\n" for line in [first, *lines]))
    try:
        items, dropped = items_of(path, split={"test": 1})
    except UserError:
        return
    assert len(items) + sum(dropped.values()) <= 1 + len(lines)
