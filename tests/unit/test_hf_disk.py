"""Hugging Face datasets on disk, in the layouts in which the library datasets and the hub have them."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from chexalign.data.base import DropStudyError
from chexalign.data.hf_disk import HFDisk
from chexalign.errors import UserError
from chexalign.recipe import ColumnsSpec
from tests import trees

SPLIT = {"sft": 4, "prefer": 99, "test": 99}
BOTH = ("frontal", "lateral")


@pytest.fixture
def root(tmp_path):
    return trees.hf_tree(tmp_path / "saved")


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "run" / "images"
    folder.mkdir(parents=True)
    return folder


def dataset(root: Path, **options) -> HFDisk:
    return HFDisk(**{"split": SPLIT, "views": BOTH, "root": root} | options)


def test_what_was_saved_is_read_with_its_splits_and_images(root, images):
    found = dataset(root, license="ours")
    items, dropped = found.items()
    assert (len(items), dropped) == (16, {})
    assert {name: sum(i.split == name for i in items) for name in SPLIT} == {"sft": 4, "prefer": 8, "test": 4}
    study = found.study(next(i for i in items if i.id == "train-7"), images)  # in the second file
    assert (study.patient_id, study.reference, study.source) == ("p3", trees.FINDINGS[3], "hf-disk")
    assert study.license == "ours"
    assert [image.view for image in study.images] == ["lateral"]
    assert study.images[0].path.startswith("images/")
    expected = trees.hf_rows(1, first=7)[0]["images"]["bytes"]
    assert (images.parent / study.images[0].path).read_bytes() == expected


def test_an_image_is_written_once(root, images):
    found = dataset(root)
    items, _ = found.items()
    first = found.study(items[0], images)
    path = images.parent / first.images[0].path
    stamp = path.stat().st_mtime_ns
    assert found.study(items[0], images) == first
    assert path.stat().st_mtime_ns == stamp
    assert len(list(images.iterdir())) == 1


def test_a_saved_split_alone_is_shared_out_by_patient(root, images):
    items, _ = dataset(root / "train", split={"sft": 6, "test": 6}).items()
    assert sorted(i.split for i in items) == ["sft"] * 6 + ["test"] * 6
    of_patient = {patient: {i.split for i in items if i.payload.patient == patient} for patient in ("p0", "p1", "p2")}
    assert all(len(splits) == 1 for splits in of_patient.values())


@pytest.mark.parametrize("names", [("train-00000-of-00001", "test-00000-of-00001"), ("train/0000", "test/0000")])
def test_parquet_files_give_the_same_studies(root, tmp_path, images, names):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, first, n in zip(names, (0, 12), (12, 4), strict=True):
        path = tmp_path / f"hub/data/{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [row | {"view": BOTH[row["view"]]} for row in trees.hf_rows(n, first=first)]
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=5)
    packed, saved = dataset(tmp_path / "hub"), dataset(root)
    studies = [{s.id: s for s in (d.study(i, images) for i in d.items()[0])} for d in (packed, saved)]
    assert studies[0] == studies[1]
    assert len(studies[0]) == 16


def test_a_cell_may_hold_several_images(tmp_path, images):
    row = trees.hf_rows(2)
    several = [
        {"id": "a", "mrn": "p", "scans": [r["images"] for r in row], "text": "Clear.", "view": list(BOTH)},
        {"id": "b", "mrn": "q", "scans": [], "text": "Clear.", "view": []},
        {"id": "c", "mrn": "r", "scans": None, "text": "Clear.", "view": None},
    ]
    trees.hf_saved(tmp_path / "s", several)
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "p").mkdir()
    pq.write_table(pa.Table.from_pylist(several), tmp_path / "p/all.parquet")
    columns = ColumnsSpec(patient="mrn", images="scans", findings="text")
    for folder in ("s", "p"):
        found = dataset(tmp_path / folder, columns=columns, split={"test": 1})
        items, dropped = found.items()
        assert dropped == {"no_image_of_the_views": 2}
        assert [image.view for image in found.study(items[0], images).images] == list(BOTH)


def test_an_image_without_bytes_is_the_file_that_it_names(tmp_path, images):
    paths = ["a.png", "../b.png", None, "none.png"]
    rows = [
        {"id": str(n), "patient": "p", "findings": "Clear.", "images": {"bytes": None, "path": p}}
        for n, p in enumerate(paths)
    ]
    trees.hf_saved(tmp_path / "s", [*rows, {**rows[0], "id": "4", "images": {"bytes": b"no image", "path": None}}])
    trees.write_image(tmp_path / "s/a.png")
    found = dataset(tmp_path / "s", split={"test": 5})
    items, _ = found.items()
    reasons = []
    for item in items:
        try:
            reasons.append(found.study(item, images).images[0].path)
        except DropStudyError as e:
            reasons.append(str(e))
    assert reasons == [
        *(str(tmp_path / "s/a.png"), "image_outside_the_folder", "image_missing", "image_missing", "image_unreadable")
    ]


def test_sixteen_bits_are_decoded_into_the_run(tmp_path, images):
    buffer = BytesIO()
    Image.frombytes("I;16", (4, 4), bytes(range(32))).save(buffer, format="PNG")
    row = trees.hf_rows(1)[0] | {"images": {"bytes": buffer.getvalue(), "path": None}}
    found = dataset(trees.hf_saved(tmp_path / "s", [row]), split={"test": 1})
    ref = found.study(found.items()[0][0], images).images[0]
    with Image.open(images.parent / ref.path) as image:
        assert image.mode == "L"


def test_what_is_no_dataset_is_told(root, tmp_path):
    cases = {
        "data-00001-of-00002.arrow": lambda: (root / "train/data-00001-of-00002.arrow").unlink(),
        "state.json": lambda: (root / "train/state.json").unlink(),
        "dataset_dict.json, state.json or": lambda: (root / "dataset_dict.json").unlink(),
    }
    for named, spoil in cases.items():
        spoil()
        with pytest.raises(UserError, match=named):
            dataset(root).items()
    shutil.rmtree(root)
    with pytest.raises(UserError, match="not a folder"):
        dataset(root).items()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"splits": []}', '{"splits": ["../x"]}', '{"splits": [1]}'])
def test_an_account_that_is_none_is_told(root, text):
    (root / "dataset_dict.json").write_text(text)
    with pytest.raises(UserError, match="cannot be read"):
        dataset(root).items()
    (root / "train/state.json").write_text(text)
    with pytest.raises(UserError, match="cannot be read"):
        dataset(root / "train").items()


def test_a_selection_of_rows_is_refused(root):
    path = root / "train/state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_indices_data_files": [{"filename": "i.arrow"}]}))
    with pytest.raises(UserError, match="flatten_indices"):
        dataset(root).items()


def test_a_missing_column_is_named(tmp_path):
    rows = [{"id": "a", "text": "Clear."}]
    with pytest.raises(UserError, match="has no column 'patient'"):
        dataset(trees.hf_saved(tmp_path / "s", rows)).items()


@given(at=st.floats(0, 1), cut=st.booleans(), bits=st.integers(1, 255), ending=st.sampled_from([".arrow", ".parquet"]))
@example(at=0.0625, cut=False, bits=25, ending=".arrow")  # the name of a column is no text any more
def test_a_damaged_file_ends_in_a_reason_or_an_error(at, cut, bits, ending):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if ending == ".parquet":
            path = trees.write_table(folder / "all.parquet", [row | {"view": "frontal"} for row in trees.hf_rows(6)])
        else:
            path = next(trees.hf_saved(folder, trees.hf_rows(6)).glob("*.arrow"))
        data = path.read_bytes()
        place = int(at * (len(data) - 1))
        rest = b"" if cut else bytes([data[place] ^ bits]) + data[place + 1 :]
        path.write_bytes(data[:place] + rest)
        found = dataset(folder, split={"test": 1})
        with contextlib.suppress(UserError):
            for item in found.items()[0]:
                with contextlib.suppress(DropStudyError):
                    found.study(item, folder / "images")
