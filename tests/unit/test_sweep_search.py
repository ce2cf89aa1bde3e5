"""The account of a sweep's trials: which come when, what is known after a stop, and whose account it is."""

from __future__ import annotations

import importlib.util
import stat
from types import SimpleNamespace

import pytest

from chexalign.cli import main
from chexalign.errors import UserError
from chexalign.sweep.search import DATABASE, TOGETHER, Search
from chexalign.sweep.space import Range

GRID = {"train.beta": ("0.01", "0.1"), "train.alpha": ("1e-3",)}
RANGES = {"train.beta": Range(0.01, 0.5, log=True), "train.epochs": Range(1, 3, whole=True)}
ABOUT = {"recipe": "r", "space": "s"}


def opened(folder, space=GRID, n=0, about=ABOUT):
    return Search(folder, space, n, seed=7, about=about)


def test_a_grid_of_one_trial_ends(tmp_path):
    with opened(tmp_path, {"train.beta": ("0.1",)}) as search:
        (asked,) = search.due()
        search.tell(asked.number, score=None, reason="It failed.", seconds=0.0)
        assert search.due() == []


def score_of(asked) -> float:
    return -abs(float(asked.values["train.beta"]) - 0.1)


def told(search):
    return [(t.number, t.values, t.score, t.reason) for t in search.told()]


def test_a_grid_is_asked_for_in_order_and_once(tmp_path):
    with opened(tmp_path) as search:
        due = search.due()
        assert [(a.number, a.values) for a in due] == [
            (0, {"train.alpha": "1e-3", "train.beta": "0.01"}),
            (1, {"train.alpha": "1e-3", "train.beta": "0.1"}),
        ]
        for asked in due:
            search.tell(asked.number, score=1.0, reason=None, seconds=2.0)
        assert search.due() == []
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_after_a_stop_what_was_under_way_comes_again_and_what_ended_does_not(tmp_path):
    with opened(tmp_path) as search:
        first, second = search.due()
        search.tell(first.number, score=None, reason="The loss is not finite.", seconds=1.0)
    with opened(tmp_path) as search:
        assert search.due() == [second]
        search.tell(second.number, score=0.5, reason=None, seconds=3.0)
        assert told(search) == [
            (0, first.values, None, "The loss is not finite."),
            (1, second.values, 0.5, None),
        ]
        assert [t.seconds for t in search.told()] == [1.0, 3.0]


def tpe(folder, n: int, stops: set[int]) -> list:
    """All trials of TPE, the process ending before each trial whose number is in `stops`."""
    stops = set(stops)
    while True:
        with opened(folder, RANGES, n) as search:
            while due := search.due():
                assert len(due) <= TOGETHER
                for asked in reversed(due):  # in whichever order they end
                    if asked.number in stops:
                        stops.remove(asked.number)
                        break
                    search.tell(asked.number, score=score_of(asked), reason=None, seconds=0.0)
                else:
                    continue
                break
            else:
                return told(search)


def test_stops_change_no_draw_of_tpe(tmp_path):
    whole = tpe(tmp_path / "a", 14, set())
    assert len(whole) == 14
    assert len({str(values) for _, values, _, _ in whole}) == 14
    assert tpe(tmp_path / "b", 14, {0, 3, 6, 11}) == whole
    assert all(1 <= int(values["train.epochs"]) <= 3 for _, values, _, _ in whole)
    assert all(0.01 <= float(values["train.beta"]) <= 0.5 for _, values, _, _ in whole)


def test_more_trials_of_tpe_go_on_from_those_that_are_there(tmp_path):
    first = tpe(tmp_path, 4, set())
    assert tpe(tmp_path, 6, set())[:4] == first


def test_another_sweep_in_the_folder_is_refused(tmp_path):
    with opened(tmp_path):
        pass
    with pytest.raises(UserError, match=r"another sweep \(different: space\)") as caught:
        opened(tmp_path, about=ABOUT | {"space": "other"})
    assert "--name" in caught.value.fix
    assert (tmp_path / DATABASE).is_file()


def test_optuna_missing_is_told_in_three_lines_before_anything_is_made(monkeypatch, runs_folder, capsys):
    real = importlib.util.find_spec
    fake = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None if name == "optuna" else real(name)))
    monkeypatch.setattr("chexalign.sweep.search.importlib", fake)
    command = ["sweep", "quick", "--arm", "dpo_label", "--grid", "train.beta=1", "--runs", str(runs_folder)]
    assert main.main(command) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 3
    assert err[2] == "Run `pip install 'chexalign[sweep]'`."
    assert list(runs_folder.iterdir()) == []
