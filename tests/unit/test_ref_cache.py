"""The cache of reference log-probs: hits, misses, damage, several writers, and whose values it refuses."""

import math
import multiprocessing
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexalign import atomic, ids
from chexalign.errors import UserError
from chexalign.train.ref_cache import IDENTITY, CachedLogp, RefCache, value_keys

IDENTITY_A = {"weights": "aaaa", "precision": "fp32", "versions": {"torch": "2"}}
IDENTITY_B = IDENTITY_A | {"weights": "bbbb"}


def float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


ROWS = [CachedLogp(f"key{i}", float32(-100.1 * (i + 1)), i + 1) for i in range(5)]


def files(cache):
    return sorted(path.name for path in cache.folder.glob("*.parquet"))


def test_what_was_put_is_found_by_another_process_exactly_and_nothing_else(tmp_path):
    writer = RefCache(tmp_path, IDENTITY_A)
    assert writer.get(["key0"]) == {}
    writer.put(ROWS[:3])
    assert writer.get(["key0", "key2", "key4"]) == {"key0": ROWS[0], "key2": ROWS[2]}
    reader = RefCache(tmp_path, IDENTITY_A)
    assert reader.get(row.key for row in ROWS) == {row.key: row for row in ROWS[:3]}
    writer.put(ROWS[3:])
    assert reader.get(["key4"]) == {"key4": ROWS[4]}, "a file that came later is seen at the next look-up"
    assert reader.damaged == {}


def test_putting_nothing_writes_nothing_and_equal_rows_are_one_file(tmp_path):
    cache = RefCache(tmp_path, IDENTITY_A)
    cache.put([])
    assert files(cache) == []
    cache.put(ROWS)
    cache.put(ROWS[::-1])
    assert len(files(cache)) == 1
    assert files(cache)[0].endswith("-5.parquet")


def test_the_first_of_two_values_of_a_key_stays(tmp_path):
    """Two processes may compute the same value in different batches; within a run it must not change."""
    cache = RefCache(tmp_path, IDENTITY_A)
    cache.put(ROWS[:1])
    assert cache.get(["key0"]) == {"key0": ROWS[0]}
    for other in range(4):
        cache.put([CachedLogp("key0", ROWS[0].sum_logp + other, 1)])
        assert cache.get(["key0"]) == {"key0": ROWS[0]}


def test_each_identity_has_a_folder_whose_json_spells_it_out(tmp_path):
    a, b = RefCache(tmp_path, IDENTITY_A), RefCache(tmp_path, IDENTITY_B)
    a.put(ROWS)
    assert b.get(["key0"]) == {}
    assert a.folder.name == ids.digest(IDENTITY_A)
    assert atomic.read_json(a.folder / IDENTITY) == IDENTITY_A
    assert atomic.read_json(b.folder / IDENTITY) == IDENTITY_B


def test_a_cache_of_another_model_is_refused(tmp_path):
    a, b = RefCache(tmp_path, IDENTITY_A), RefCache(tmp_path, IDENTITY_B)
    atomic.write_json(a.folder / IDENTITY, atomic.read_json(b.folder / IDENTITY))
    with pytest.raises(UserError, match=r"belongs to another model \(different: weights\)") as e:
        RefCache(tmp_path, IDENTITY_A)
    assert len(str(e.value).splitlines()) == 3
    assert str(a.folder) in e.value.what
    assert a.folder.exists(), "it is for the user to delete it"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"weights": "aaaa"}'])
def test_a_cache_that_does_not_say_whose_it_is_is_refused(tmp_path, text):
    cache = RefCache(tmp_path, IDENTITY_A)
    (cache.folder / IDENTITY).write_text(text)
    with pytest.raises(UserError, match="belongs to another model"):
        RefCache(tmp_path, IDENTITY_A)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-20])


def emptied(path):
    path.write_bytes(b"")


def flipped(path):
    """One bit of a value that Parquet itself does not miss."""
    data = bytearray(path.read_bytes())
    place = data.index(struct.pack("<d", ROWS[3].sum_logp))
    data[place + 6] ^= 1
    path.write_bytes(bytes(data))


def of_other_columns(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"key": ["key0"], "value": [1.0]}), path)


@pytest.mark.parametrize("damage", [truncated, emptied, flipped, of_other_columns])
def test_a_damaged_file_is_ignored_its_rows_counted_and_mended_by_putting_them_again(tmp_path, damage):
    cache = RefCache(tmp_path, IDENTITY_A)
    cache.put(ROWS[:2])
    cache.put(ROWS[2:])
    (path,) = (p for p in cache.folder.glob("*.parquet") if p.stem.endswith("-3"))
    damage(path)
    reader = RefCache(tmp_path, IDENTITY_A)
    assert reader.get(row.key for row in ROWS) == {row.key: row for row in ROWS[:2]}
    assert reader.damaged == {path.name: 3}
    reader.put(ROWS[2:])
    assert reader.get(row.key for row in ROWS) == {row.key: row for row in ROWS}
    mended = RefCache(tmp_path, IDENTITY_A)
    assert len(mended.get(row.key for row in ROWS)) == 5
    assert mended.damaged == {}


def test_a_file_with_a_name_of_its_own_is_not_believed(tmp_path):
    cache = RefCache(tmp_path, IDENTITY_A)
    cache.put(ROWS)
    (path,) = cache.folder.glob("*.parquet")
    path.rename(path.with_name("copy.parquet"))
    reader = RefCache(tmp_path, IDENTITY_A)
    assert reader.get(["key0"]) == {}
    assert reader.damaged == {"copy.parquet": 0}


def write_some(root, first, start):
    cache = RefCache(root, IDENTITY_A)
    start.wait()
    for i in range(first, first + 12):
        cache.put([CachedLogp(f"key{i}", -float(i), 1)])
        cache.get([f"key{i}"])


def test_several_processes_write_at_once(tmp_path):
    """Their keys overlap, and all open the folder, which is not there yet."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    processes = [context.Process(target=write_some, args=(tmp_path, first, start)) for first in (0, 6, 12)]
    for p in processes:
        p.start()
    for p in processes:
        p.join(60)
    assert [p.exitcode for p in processes] == [0, 0, 0]
    cache = RefCache(tmp_path, IDENTITY_A)
    found = cache.get(f"key{i}" for i in range(30))
    assert {key: row.sum_logp for key, row in found.items()} == {f"key{i}": -float(i) for i in range(24)}
    assert cache.damaged == {}
    assert len(files(cache)) == 24
    assert [p.name for p in cache.folder.iterdir() if p.name.startswith(".")] == []


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=8))
def test_every_float32_comes_back_bit_by_bit(tmp_path_factory, values):
    cache = RefCache(tmp_path_factory.mktemp("cache"), IDENTITY_A)
    cache.put([CachedLogp(str(i), value, i) for i, value in enumerate(values)])
    found = cache.get(map(str, range(len(values))))
    assert [found[str(i)].sum_logp for i in range(len(values))] == values
    assert [math.copysign(1, found[str(i)].sum_logp) for i in range(len(values))] == [
        math.copysign(1, v) for v in values
    ]


PROMPT, IMAGES, COMPLETIONS = (1, 2, 3), ("ab", "cd"), [(4, 5), (6,)]


def test_a_key_depends_on_prompt_images_and_completion_alone():
    first, second = value_keys(PROMPT, IMAGES, COMPLETIONS)
    assert first != second
    assert value_keys(list(PROMPT), list(IMAGES), COMPLETIONS[::-1]) == [second, first]
    others = [
        value_keys((1, 2, 3, 4), IMAGES, [(5,)])[0],  # the same tokens, cut at another place
        value_keys((1, 2), IMAGES, [(3, 4, 5)])[0],
        value_keys((12, 3), IMAGES, COMPLETIONS)[0],
        value_keys(PROMPT, ("cd", "ab"), COMPLETIONS)[0],
        value_keys(PROMPT, ("ab",), COMPLETIONS)[0],
        value_keys(PROMPT, ("abcd",), COMPLETIONS)[0],
        value_keys(PROMPT, (), COMPLETIONS)[0],
    ]
    assert len({first, second, *others}) == len(others) + 2
