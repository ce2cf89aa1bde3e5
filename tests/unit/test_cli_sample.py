"""`chexalign sample`: a limit that a later call goes on from, and a resume that never begins by mistake."""

import json

import pytest

from chexalign.cli import main
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from tests.made_up import install, tiny_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def sample(checkpoint, runs_folder, tmp_path, monkeypatch, capsys):
    """Calls the verb and returns its exit code and what it printed."""
    install(tmp_path, monkeypatch)
    settings = (
        *(f"policy={{model: {checkpoint}}}", "sft=null", "data.split={prefer: 10, test: 2}"),
        *("sample.part_size=3", "sample.n=2", "sample.max_new_tokens=6", "workers=1"),
        *("arms={a: {judge: chexpert, pairs: {rule: best_worst}}}", "evaluate.metrics=[chexpert]"),
    )

    def call(*more, overrides=()):
        given = [part for setting in (*settings, *overrides) for part in ("--set", setting)]
        code = main.main(["sample", "quick", "--runs", str(runs_folder), "--json", *given, *more])
        return code, capsys.readouterr()

    return call


def rows(said):
    (table,) = json.loads(said.out).values()
    return table["rows"]


def test_a_limit_is_gone_on_from(sample, runs_folder):
    run = RunFolder(runs_folder / "quick")
    code, said = sample("--limit", "4")
    assert (code, rows(said)) == (0, 12), "two parts of three prompts, two candidates each"
    first = run.candidates.part_rows(0)
    assert Manifest.load(run.candidates.folder) is None
    before = run.candidates.part_path(1).stat().st_mtime_ns
    code, said = sample("--resume")
    assert (code, rows(said)) == (0, 20)
    assert run.candidates.part_path(1).stat().st_mtime_ns == before
    assert run.candidates.rows()[:6] == first
    assert rows(sample("--limit", "1")[1]) == 20, "a finished table stays finished"


def test_resume_refuses_to_begin(sample, runs_folder):
    code, said = sample("--resume")
    assert (code, len(said.err.strip().splitlines()[-3:])) == (2, 3)
    assert "holds no candidates" in said.err


@pytest.mark.parametrize("limit", ["0", "-3", "ten"])
def test_a_limit_is_a_number_of_prompts(sample, limit):
    code, said = sample("--limit", limit)
    assert code == 2
    assert "--limit: must be a whole number from 1 on" in said.err


def test_a_bound_on_what_is_left_out_may_change_between_calls(sample):
    assert sample("--limit", "3")[0] == 0
    assert rows(sample(overrides=["sample.max_dropped=0.5"])[1]) == 20


@pytest.mark.parametrize("seed", ["soon", "1.5", "-1"])
def test_a_seed_is_a_whole_number(sample, seed):
    code, said = sample(overrides=[f"seed={seed}"])
    assert code == 2
    assert "seed" in said.err.splitlines()[0]
