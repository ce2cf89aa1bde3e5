"""Tables with another delimiter or encoding, and files that are something else: the error says which."""

from __future__ import annotations

import gzip

import pytest

from chexalign.data.layout import read_columns
from chexalign.data.table import Table
from chexalign.data.table_trouble import content_said, delimiter_said
from chexalign.errors import UserError

COLUMNS = ("dicom_id", "study_id")
ROWS = "dicom_id{0}study_id\nd1{0}50\n"


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_another_delimiter_is_named(tmp_path, mark, name):
    path = tmp_path / "t.csv"
    path.write_text(ROWS.format(mark))
    with pytest.raises(UserError, match="has no column dicom_id") as caught:
        list(read_columns(path, COLUMNS, "mimic-cxr"))
    assert f"split by {name}" in caught.value.fix
    path.write_text(ROWS.format(mark).replace("dicom_id", "id").replace("study_id", "patient"))
    with pytest.raises(UserError, match="has no column") as caught:
        Table(split={"test": 1}, root=path).items()
    assert f"split by {name}" in caught.value.fix


def test_commas_in_a_table_of_tabs_are_named(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("id,patient\n1,2\n")
    with pytest.raises(UserError) as caught:
        Table(split={"test": 1}, root=path).items()
    assert "split by commas" in caught.value.fix


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (ROWS.format(",").encode("utf-16"), "UTF-16"),
        (ROWS.format(",").encode("utf-16-le"), "UTF-16"),
        ("dicom_id,study_id,n\u00e9e\nd1,50,\u00e9\n".encode("cp1252"), "Windows-1252"),
        (gzip.compress(b"dicom_id,study_id\n", mtime=0), "gzip"),
        (b"PK\x03\x04\xff\xfe", "zip"),
    ],
)
def test_another_encoding_or_a_packed_file_is_named(tmp_path, data, said):
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        list(read_columns(path, COLUMNS, "mimic-cxr"))
    assert said in content_said(path)
    assert "cannot be read" not in caught.value.what or said in caught.value.fix


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_web_page_in_place_of_a_file_is_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"<!DOCTYPE html><title>Log in</title>\xff")
    with pytest.raises(UserError, match="cannot be read") as caught:
        list(read_columns(path, COLUMNS, "mimic-cxr"))
    assert "web page" in caught.value.fix


@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.99])
def test_a_half_downloaded_file_is_told(tmp_path, keep):
    path = tmp_path / "t.csv.gz"
    data = gzip.compress("".join([ROWS.format(","), *(f"d{n},{n * n}\n" for n in range(500))]).encode())
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(UserError) as caught:
        list(read_columns(path, COLUMNS, "mimic-cxr"))
    assert "packed" not in caught.value.fix


def test_of_what_is_right_nothing_is_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,\u00e9" * 40_000)
    assert content_said(path) == content_said(tmp_path / "none") == ""
    assert delimiter_said(["a", "b"]) == delimiter_said(["a"]) == delimiter_said([]) == ""
