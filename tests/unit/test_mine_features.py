"""Feature files are whole or absent, and are refused for other items, other models and values that are no numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from chexalign.errors import UserError
from chexalign.mine.vectors.features import Features, Items, in_memory, open_features, write_features

ITEMS = Items(("a", "b", "c", "d", "e"), ("p", "p", "q", "q", "r"))
VALUES = np.arange(15, dtype=np.float32).reshape(5, 3)


@pytest.fixture
def folder(tmp_path):
    write_features(tmp_path, "image", [VALUES[:2], VALUES[2:2], VALUES[2:]], items=ITEMS, model="m")
    write_features(tmp_path, "findings", [VALUES > 4], items=ITEMS, model="labels", kind="flags")
    return tmp_path


def test_what_is_written_is_read_in_blocks_and_rows(folder):
    found = open_features(folder, ITEMS, models={"image": "m"})
    image, findings = found.features["image"], found.features["findings"]
    np.testing.assert_array_equal(np.load(folder / "image.npy"), VALUES)
    for start, stop in ((0, 5), (1, 3), (3, 99), (5, 6)):
        np.testing.assert_array_equal(image.block(start, stop), VALUES[start:stop])
    np.testing.assert_array_equal(image.rows(np.array([4, 0, 4])), VALUES[[4, 0, 4]])
    np.testing.assert_array_equal(findings.block(0, 5), VALUES > 4)
    assert (image.dtype, findings.dtype) == ("float32", "uint8")
    assert isinstance(image.block(0, 2), np.memmap)


def test_the_same_values_have_the_same_content(folder, tmp_path_factory):
    again = write_features(tmp_path_factory.mktemp("again"), "image", [VALUES], items=ITEMS, model="m")
    first = open_features(folder, ITEMS).features["image"]
    assert again.content == first.content != ""
    other = write_features(tmp_path_factory.mktemp("other"), "image", [VALUES + 1], items=ITEMS, model="m")
    assert other.content != first.content


def test_some_items_are_read_into_memory(folder):
    some = open_features(folder, ITEMS).take([3, 1])
    assert (some.items.ids, some.items.patients) == (("d", "b"), ("q", "p"))
    np.testing.assert_array_equal(some.features["image"].block(0, 2), VALUES[[3, 1]])
    assert len(some) == 2


@pytest.mark.parametrize(
    "items",
    [
        Items(ITEMS.ids[:4], ITEMS.patients[:4]),
        Items(ITEMS.ids[::-1], ITEMS.patients[::-1]),
        Items(ITEMS.ids, ("p", "p", "q", "q", "q")),
    ],
    ids=["fewer", "order", "patients"],
)
def test_features_of_other_items_are_refused(folder, items):
    with pytest.raises(UserError, match="other items"):
        open_features(folder, items)


def test_features_of_another_model_are_refused(folder):
    with pytest.raises(UserError, match="another model"):
        open_features(folder, ITEMS, models={"image": "m2"})


def test_a_folder_without_features_is_refused(tmp_path):
    with pytest.raises(UserError, match="no features"):
        open_features(tmp_path, ITEMS)


@pytest.mark.parametrize("damage", ["cut", "type", "shape", "account", "kind", "missing"])
def test_damaged_features_are_refused(folder, damage):
    path, account = folder / "image.npy", folder / "image.json"
    told = json.loads(account.read_text())
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif damage == "type":
        np.save(path, VALUES.astype(np.float64))
    elif damage == "shape":
        np.save(path, VALUES[:, :2])
    elif damage == "account":
        account.write_text("{")
    elif damage == "kind":
        account.write_text(json.dumps({**told, "kind": "sound"}))
    else:
        path.unlink()
    with pytest.raises(UserError, match="not whole"):
        open_features(folder, ITEMS)


def test_a_writer_that_fails_leaves_no_features_of_either_time(folder):
    def blocks():
        yield VALUES[:2] + 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_features(folder, "image", blocks(), items=ITEMS, model="m2")
    assert "image" not in open_features(folder, ITEMS).features


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_no_numbers_are_refused(tmp_path, value):
    values = VALUES.astype(np.float64)
    values[1, 1] = value
    with pytest.raises(UserError, match="no finite number"):
        write_features(tmp_path, "image", [values], items=ITEMS, model="m")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="no finite number"):
        in_memory("image", values, model="m")


def test_what_float16_cannot_hold_is_refused(tmp_path):
    with pytest.raises(UserError, match="no finite number"):
        write_features(tmp_path, "image", [VALUES * 1e5], items=ITEMS, model="m", dtype="float16")
    assert write_features(tmp_path, "image", [VALUES], items=ITEMS, model="m", dtype="float16").dtype == "float16"


def test_flags_are_0_or_1_and_types_fit_their_kind(tmp_path):
    with pytest.raises(UserError, match="0 and 1"):
        write_features(tmp_path, "findings", [VALUES], items=ITEMS, model="m", kind="flags")
    with pytest.raises(UserError, match="written as float64"):
        write_features(tmp_path, "image", [VALUES], items=ITEMS, model="m", dtype="float64")


@pytest.mark.parametrize("blocks", [[], [VALUES[:4]], [VALUES, VALUES[:1]], [VALUES[:2], VALUES[2:, :2]]])
def test_as_many_rows_as_items(tmp_path, blocks):
    with pytest.raises(ValueError, match="write_features"):
        write_features(tmp_path, "image", blocks, items=ITEMS, model="m")
    assert list(tmp_path.iterdir()) == []


def test_one_patient_for_each_item():
    with pytest.raises(ValueError, match="one patient"):
        Items(("a",), ())


def test_features_in_memory_have_no_content(folder):
    found = in_memory("image", VALUES, model="m")
    assert isinstance(found, Features)
    assert found.content == ""
