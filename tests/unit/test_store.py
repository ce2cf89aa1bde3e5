"""Tables: damage is found, the manifest comes last, an unfinished table is not read."""

import errno
import json
from dataclasses import dataclass

import pyarrow.parquet as pq
import pytest

from chexalign.errors import UserError
from chexalign.store import Manifest, Table, merge_dropped
from chexalign.types import Prompt, Score

ROWS = [Prompt(f"p{i}", f"s{i}", "findings", "Findings:", "findings@1") for i in range(3)]
PRINT = "f1"


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path / "prompts", Prompt)


def manifest(**changes):
    values = {"stage": "prompts", "fingerprint": PRINT, "inputs": {}, "config": {}, "seed": 1, "rows": 3, "dropped": {}}
    return Manifest(**(values | {"content": "c", "seconds": 0.5} | changes))


def test_rows_come_back_part_by_part_in_order(table):
    table.write_part(1, ROWS[2:], fingerprint=PRINT)
    table.write_part(0, ROWS[:2], fingerprint=PRINT)
    manifest(parts=2).save(table.folder)
    assert table.rows() == ROWS


def test_an_unfinished_table_is_not_read(table):
    table.write_part(0, ROWS, fingerprint=PRINT)
    with pytest.raises(UserError, match="not finished") as caught:
        table.rows()
    assert str(table.folder) in caught.value.what
    with pytest.raises(UserError, match="not finished"):
        next(table.iter_rows())


def test_a_damaged_manifest_is_no_manifest(table):
    table.write_part(0, ROWS, fingerprint=PRINT)
    manifest().save(table.folder)
    path = table.folder / "manifest.json"
    whole = path.read_text()
    for damaged in (whole[: len(whole) // 2], "", "[]", '{"stage": "prompts"}', "\x00"):
        path.write_text(damaged)
        assert Manifest.load(table.folder) is None
        with pytest.raises(UserError, match="not finished"):
            table.rows()


def test_a_manifest_comes_back(table):
    written = manifest(dropped={"blank": 2}, extra={"workers": 2})
    written.save(table.folder)
    assert Manifest.load(table.folder) == written


def test_the_info_of_a_part_comes_back(table):
    info = table.write_part(3, ROWS, fingerprint=PRINT, dropped={"blank": 2}, seconds=1.5, extra={"tokens": 7})
    assert table.part_info(3, fingerprint=PRINT) == info
    assert (info.rows, info.dropped, info.extra) == (3, {"blank": 2}, {"tokens": 7})


def test_a_part_of_another_fingerprint_is_not_taken(table):
    table.write_part(0, ROWS, fingerprint=PRINT)
    assert table.part_info(0, fingerprint="f2") is None


@pytest.mark.parametrize("position", [0, 0.3, 0.6, -1])
def test_a_flipped_byte_is_found(table, position):
    table.write_part(0, ROWS, fingerprint=PRINT)
    data = bytearray(table.part_path(0).read_bytes())
    data[int(position * len(data)) if position != -1 else -1] ^= 1
    table.part_path(0).write_bytes(data)
    assert table.part_info(0, fingerprint=PRINT) is None


@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_a_truncated_part_is_found(table, keep):
    table.write_part(0, ROWS, fingerprint=PRINT)
    data = table.part_path(0).read_bytes()
    table.part_path(0).write_bytes(data[: int(keep * len(data))])
    assert table.part_info(0, fingerprint=PRINT) is None


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"index": 0}', "\x00\x01"])
def test_a_damaged_info_is_found(table, text):
    table.write_part(0, ROWS, fingerprint=PRINT)
    table.part_path(0).with_suffix(".json").write_text(text)
    assert table.part_info(0, fingerprint=PRINT) is None


def test_a_part_without_its_file_or_its_info_is_not_there(table):
    assert table.part_info(0, fingerprint=PRINT) is None
    table.write_part(0, ROWS, fingerprint=PRINT)
    table.part_path(0).unlink()
    assert table.part_info(0, fingerprint=PRINT) is None
    table.write_part(0, ROWS, fingerprint=PRINT)
    table.part_path(0).with_suffix(".json").unlink()
    assert table.part_info(0, fingerprint=PRINT) is None


def test_the_file_comes_before_its_info(table, monkeypatch):
    """Killed between the two, the part is new and its info old: it must not pass for whole."""
    table.write_part(0, ROWS, fingerprint=PRINT)

    def stop(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("chexalign.atomic.write_json", stop)
    with pytest.raises(KeyboardInterrupt):
        table.write_part(0, ROWS[:1], fingerprint=PRINT)
    assert table.part_info(0, fingerprint=PRINT) is None


def test_a_full_disk_leaves_no_part(table, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(UserError, match="full"):
        table.write_part(0, ROWS, fingerprint=PRINT)
    assert list(table.folder.iterdir()) == []


def test_parts_are_the_owners_alone(table):
    table.write_part(0, ROWS, fingerprint=PRINT)
    for path in table.folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_an_empty_part_is_a_part(table):
    info = table.write_part(0, [], fingerprint=PRINT, dropped={"blank": 4})
    manifest(rows=0).save(table.folder)
    assert table.part_info(0, fingerprint=PRINT) == info
    assert table.rows() == []


def test_the_content_digest_is_of_the_rows_alone(table):
    first = table.write_part(0, ROWS, fingerprint=PRINT, seconds=1.0)
    second = table.write_part(1, ROWS, fingerprint="f2", seconds=2.0, extra={"workers": 2})
    assert first.content == second.content
    assert first.content != table.write_part(2, ROWS[::-1], fingerprint=PRINT).content


def test_other_tools_read_the_parts(tmp_path):
    table = Table(tmp_path / "scores", Score)
    table.write_part(0, [Score("c1", "green@1", 0.5, (("errors", 2.0),)), unscored()], fingerprint=PRINT)
    rows = pq.read_table(table.part_path(0)).to_pylist()
    assert rows[0]["parts"] == [{"name": "errors", "value": 2.0}]
    assert rows[1]["value"] is None


def unscored():
    return Score("c2", "green@1", None, status="unparsed", reason="no count")


def test_required_fields_are_not_nullable(tmp_path):
    schema = Table(tmp_path, Score).schema()
    assert {field.name for field in schema if field.nullable} == {"value", "reason"}


@dataclass(frozen=True)
class Odd:
    values: dict[str, float]


def test_a_record_that_cannot_be_stored_is_refused(tmp_path):
    with pytest.raises(TypeError, match="Arrow"):
        Table(tmp_path, Odd).schema()


def test_reasons_add_up():
    counts = [{"b": 2, "a": 1}, {}, {"b": 3, "c": 1}]
    assert merge_dropped(counts) == {"a": 1, "b": 5, "c": 1}
    assert list(merge_dropped(counts)) == ["a", "b", "c"]
    assert merge_dropped([]) == {}


def test_infos_are_json_that_people_can_read(table):
    table.write_part(0, ROWS, fingerprint=PRINT, dropped={"blank": 2})
    assert json.loads(table.part_path(0).with_suffix(".json").read_text())["dropped"] == {"blank": 2}
    assert sorted(p.name for p in table.folder.iterdir()) == ["part-00000.json", "part-00000.parquet"]
