"""Grids and ranges: every combination once and in order, and a UserError for whatever cannot be read."""

from __future__ import annotations

import contextlib
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chexalign.errors import UserError
from chexalign.sweep.space import Range, expand, parse_grid, parse_ranges, read_grid

KEYS = st.from_regex(r"train\.[a-z_]{1,8}", fullmatch=True)
VALUES = st.lists(st.floats(1e-6, 1e6).map(repr), min_size=1, max_size=4, unique=True)
GRIDS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=3)


@given(GRIDS)
def test_every_combination_comes_once_and_the_last_key_moves_fastest(grid):
    found = expand(grid)
    assert len(found) == math.prod(len(values) for values in grid.values())
    assert len({tuple(one.items()) for one in found}) == len(found)
    assert all(list(one) == list(grid) and all(one[key] in grid[key] for key in grid) for one in found)
    places = [tuple(grid[key].index(one[key]) for key in grid) for one in found]
    assert places == sorted(places)


@given(GRIDS)
def test_a_grid_reads_as_it_was_written(grid):
    assert parse_grid(f"{key} = {', '.join(values)}" for key, values in grid.items()) == {
        key: tuple(values) for key, values in grid.items()
    }


@given(GRIDS)
def test_a_file_gives_the_grid_of_the_command_line(tmp_path_factory, grid):
    path = tmp_path_factory.mktemp("grid") / "g.yaml"
    path.write_text(yaml.safe_dump({key: [float(v) for v in values] for key, values in grid.items()}, sort_keys=False))
    assert {k: [float(v) for v in vs] for k, vs in read_grid(path).items()} == {
        k: [float(v) for v in vs] for k, vs in grid.items()
    }


def test_no_grid_has_no_trials():
    assert expand({}) == []


@given(st.text(max_size=30))
def test_what_cannot_be_read_is_a_user_error(text):
    for parse in (parse_grid, parse_ranges):
        with contextlib.suppress(UserError):
            assert parse([text])


@given(st.binary(max_size=60))
def test_a_file_that_is_no_grid_is_a_user_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("grid") / "g.yaml"
    path.write_bytes(content)
    try:
        grid = read_grid(path)
    except UserError:
        return
    assert grid
    assert all(values and all(values) for values in grid.values())


@pytest.mark.parametrize(
    "texts",
    [["train.beta"], ["train.beta="], ["train.beta=1,,2"], ["train.beta=1,1"], ["=1"], ["a=1", "a=2"], ["a..b=1"]],
)
def test_wrong_grids(texts):
    with pytest.raises(UserError):
        parse_grid(texts)


def test_ranges():
    texts = ["train.beta=0.01..0.5:log", "train.epochs=1..3", "pairs.min_margin=0..0.5", "train.tau=.5...9"]
    assert list(parse_ranges(texts).values()) == [
        Range(0.01, 0.5, log=True),
        Range(1, 3, whole=True),
        Range(0, 0.5),
        Range(0.5, 0.9),
    ]


@pytest.mark.parametrize(
    "text", ["a=1", "a=2..1", "a=1..1", "a=0..1:log", "a=1..2:lg", "a=1..2:", "a=nan..2", "a=1..inf", "=1..2", "a=..2"]
)
def test_wrong_ranges(text):
    with pytest.raises(UserError, match="--range"):
        parse_ranges([text])
