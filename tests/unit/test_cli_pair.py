"""`chexalign pair` says what the pairs teach, as columns for people and as JSON for programs."""

import json

import pytest

from chexalign.cli import main
from chexalign.cli.pair import audit_rows
from chexalign.run_folder import RunFolder
from tests.made_up import install, tiny_checkpoint


@pytest.fixture
def call(runs_folder, tmp_path, monkeypatch, capsys):
    """Calls a verb on a recipe with two judges, and returns what it printed."""
    install(tmp_path, monkeypatch)
    settings = (
        *(f"policy={{model: {tiny_checkpoint(tmp_path / 'policy')}}}", "sft=null", "data.split={prefer: 8, test: 2}"),
        *("sample.part_size=4", "sample.n=3", "sample.max_new_tokens=12", "workers=1", "evaluate.metrics=[chexpert]"),
        "arms={a: {judge: rouge_l, pairs: {rule: best_worst}}, "
        "b: {judge: bleu_4, pairs: {rule: round_robin, options: {max_pairs: 2}}}}",
    )

    def go(verb, *more):
        given = [part for setting in settings for part in ("--set", setting)]
        assert main.main([verb, "quick", "--runs", str(runs_folder), *given, *more]) == 0
        return capsys.readouterr().out

    return go


def test_the_audit_of_each_arm_and_how_far_judges_agree(call, runs_folder):
    found = json.loads(call("pair", "--json"))
    run = RunFolder(runs_folder / "quick")
    assert found[str(run.pairs("a").folder)]["rows"] == len(run.pairs("a").rows())
    assert found["audit"]["a"] == run.pairs("a").info(0).extra["audit"]
    assert found["audit"]["b"]["n_prompts"] == 8
    (agreement,) = found["agreement"]
    assert (agreement["first"], agreement["second"]) == ("bleu_4", "rouge_l")
    (kept,) = json.loads(run.agreement.read_text())
    assert kept == pytest.approx(agreement, abs=5e-4)
    told = call("pair")
    assert str(run.pairs("b").folder) in told
    assert "chosen words (mean, median, sd)" in told
    assert "N_ORDERED" in told
    to = runs_folder.parent / "exported"
    call("export", "--arm", "b", "--format", "jsonl", "--to", str(to))
    assert len((to / "train.jsonl").read_text().splitlines()) == len(run.pairs("b").rows())


def test_rows_of_an_audit():
    summary = {"mean": 12.345, "median": 11.0, "sd": None}
    nothing = {"mean": None, "median": None, "sd": None}
    audits = {
        "a": {"n_pairs": 1200, "ties": 0.25, "chosen": {"words": summary}, "dropped": {"tie": 3}, "n_patients": None},
        "b": {"n_pairs": 0, "ties": None, "chosen": {"words": nothing}, "dropped": {}, "n_patients": None},
    }
    assert audit_rows(audits) == [
        {"measure": "n pairs", "a": "1,200", "b": "0"},
        {"measure": "ties", "a": "0.250", "b": None},
        {"measure": "chosen words (mean, median, sd)", "a": "12.3 / 11.0 / -", "b": None},
        {"measure": "dropped tie", "a": "3", "b": None},
    ]
