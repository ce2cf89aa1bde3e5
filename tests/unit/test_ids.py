"""Digests and seeds follow from content alone."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from chexalign.ids import bytes_sha256, digest, file_sha256, folder_digest, keyed_seed

parts = st.lists(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.none(), st.booleans()), max_size=4)


@given(parts)
def test_equal_parts_have_equal_digests(values):
    assert digest(*values) == digest(*list(values))
    assert len(digest(*values)) == 16


@given(st.text(min_size=1), st.text(min_size=1))
def test_parts_are_not_joined(a, b):
    assert digest(a, b) != digest(a + b)


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})


def test_digests_stay_the_same_between_releases():
    """A finished run is found again by its digests; a change here makes every run start over."""
    whole = hashlib.sha256(b'["prompt", "\xc3\xa9", 1, null]').hexdigest()
    assert digest("prompt", "é", 1, None) == whole[:16]
    assert keyed_seed("prompt", "é", 1, None) == int(hashlib.sha256(whole.encode()).hexdigest()[:16], 16) // 2


def test_digests_take_bytes_and_paths(tmp_path):
    assert digest(b"\x01\xff") == digest("01ff")
    assert digest(tmp_path) == digest(str(tmp_path))


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    data = bytes(range(256)) * 5_000  # more than one block
    (tmp_path / "a").write_bytes(data)
    assert file_sha256(tmp_path / "a") == bytes_sha256(data) == hashlib.sha256(data).hexdigest()


def test_a_folder_digest_covers_names_and_bytes_of_what_matches(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"1")
    (tmp_path / "b.txt").write_bytes(b"2")
    before = folder_digest(tmp_path, ["*.bin"])
    assert before == folder_digest(tmp_path, ["*.bin", "a.*"])
    (tmp_path / "b.txt").write_bytes(b"3")
    assert folder_digest(tmp_path, ["*.bin"]) == before
    (tmp_path / "a.bin").write_bytes(b"4")
    changed = folder_digest(tmp_path, ["*.bin"])
    (tmp_path / "a.bin").rename(tmp_path / "c.bin")
    assert len({before, changed, folder_digest(tmp_path, ["*.bin"])}) == 3


@given(parts)
def test_a_seed_has_63_bits(values):
    assert 0 <= keyed_seed(*values) < 2**63


def test_seeds_of_neighbors_are_unrelated():
    seeds = [keyed_seed(7, "prompt", draw) for draw in range(4_000)]
    assert len(set(seeds)) == len(seeds)
    ones = sum(seed & 1 for seed in seeds)
    assert abs(ones - 2_000) < 200  # six standard deviations
