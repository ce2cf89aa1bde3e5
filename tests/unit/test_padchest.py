"""PadChest in its layout, on small trees written here; the table itself is read where its package is installed."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexalign.data.base import DropStudyError
from chexalign.data.openi import find_packaged
from chexalign.data.padchest import LICENSE, TABLE_NAMES, PadChest, read_padchest
from chexalign.errors import UserError
from tests import trees

BOTH = ("frontal", "lateral")


@pytest.fixture
def root(tmp_path):
    rows = []
    for n in range(6):
        who = {"study": f"s{n}", "patient": f"p{n // 2}"}
        rows.append(trees.padchest_row(**who, image=f"{n}_f", StudyDate_DICOM=20150101 + n, MethodLabel="Physician"))
        rows.append(trees.padchest_row(**who, image=f"{n}_l", StudyDate_DICOM=20150101 + n, Projection="L", ImageDir=7))
    rows[0]["Labels"] = "['pleural effusion', ' nodule']"
    trees.write_padchest(tmp_path / "pad", rows)
    return tmp_path / "pad"


def test_a_study_by_hand(root, tmp_path):
    dataset = PadChest(split={"test": 6}, views=BOTH, root=root, prior=True)
    items, dropped = dataset.items()
    assert (len(items), dropped) == (6, {})
    (tmp_path / "images").mkdir()
    first, second = (
        dataset.study(next(i for i in items if i.id == name), tmp_path / "images") for name in ("s0", "s1")
    )
    assert (first.patient_id, first.reference, first.license) == ("p0", "sin hallazg patolog .", LICENSE)
    assert (first.codes, first.indication, first.impression) == (("pleural effusion", "nodule"), None, None)
    assert [(image.view, image.role) for image in first.images] == [("frontal", "current"), ("lateral", "current")]
    assert [image.role for image in second.images] == ["current", "current", "prior"]
    assert second.images[2] == first.images[0].__class__(**{**_plain(first.images[0]), "role": "prior"})
    assert first.images[0].path.startswith("images/")  # 16 bits are decoded


def _plain(ref):
    return {name: getattr(ref, name) for name in ref.__dataclass_fields__}


def test_splits_are_by_patient_and_must_not_ask_for_too_much(root):
    items, _ = PadChest(split={"sft": 4, "test": 2}, root=root).items()
    of_patient = {p: {i.split for i in items if i.payload[0].patient == p} for p in ("p0", "p1", "p2")}
    assert all(len(splits) == 1 for splits in of_patient.values())
    with pytest.raises(UserError, match="asks for 7"):
        PadChest(split={"test": 7}, root=root).items()


def test_images_may_be_in_one_folder(root, tmp_path):
    for path in list(root.rglob("*.png")):
        shutil.move(path, root / path.name)
    shutil.rmtree(root / "0")
    shutil.rmtree(root / "7")
    assert len(PadChest(split={"test": 6}, root=root).items()[0]) == 6


def test_rows_and_studies_that_are_left_out_have_a_reason(tmp_path):
    good = trees.padchest_row("s1", "p1", "a")
    rows = [
        good,
        good,
        trees.padchest_row("s1", "p2", "b"),
        trees.padchest_row("s1", "p1", "../b"),
        trees.padchest_row("", "p1", "c"),
        trees.padchest_row("s2", "p1", "d", Report=" . "),
        trees.padchest_row("s3", "p1", "e", Projection="EXCLUDE"),
        trees.padchest_row("s4", "p1", "f", Labels="__import__('os')"),
        trees.padchest_row("s5", "p1", "g"),
    ]
    trees.write_padchest(tmp_path, [row for row in rows if row["ImageID"] != "../b.png"])
    trees.write_padchest(tmp_path, rows, images=False)
    (tmp_path / "0/g.png").unlink()
    items, dropped = PadChest(split={"test": 2}, root=tmp_path).items()
    assert [item.id for item in items] == ["s1", "s4"]
    assert dropped == {
        "image_listed_twice": 1,
        "id_of_another_study": 1,
        "malformed_row": 2,
        "findings_empty": 1,
        "no_image_of_the_views": 1,
        "image_missing": 1,
    }


CELL = st.sampled_from(
    ["", "nan", "a.png", "b.png", "../a.png", "0", "PA", "L", "p1", "Physician", "['x', 1]", "[", '"']
)


@given(rows=st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(trees.PADCHEST[1:], CELL)), max_size=8))
def test_every_row_is_an_image_or_has_a_reason(rows):
    with tempfile.TemporaryDirectory() as name:
        whole = [trees.padchest_row("s1", "p1", "a") | row for row in rows]
        path = trees.write_padchest(Path(name), whole, images=False)
        studies, dropped = read_padchest(path)
        assert sum(len(s.images) for s in studies.values()) + sum(dropped.values()) == len(rows)
        with contextlib.suppress(UserError, DropStudyError):
            dataset = PadChest(split={"test": 1}, root=path.parent)
            dataset.study(dataset.items()[0][0], path.parent)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torchxrayvision") is None, reason="needs the package torchxrayvision")
def test_the_table_has_the_rows_that_are_known():
    studies, dropped = read_padchest(find_packaged(TABLE_NAMES[0]))
    assert dropped == {"id_of_another_study": 1}
    assert sum(len(s.images) for s in studies.values()) == 160_860
    assert len(studies) == 109_931
    assert len({s.patient for s in studies.values()}) == 67_624  # one more has only the row that is left out
    assert sum(bool(s.labels) for s in studies.values()) > 20_000
