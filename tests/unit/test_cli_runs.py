"""The verbs that run stages check a recipe before they begin, hold its folder, and say what they made."""

from __future__ import annotations

import json

import pytest

from chexalign import workflow
from chexalign.cli import carry_out, checks, main
from chexalign.errors import UserError
from chexalign.recipe.load import load_recipe
from chexalign.stage import locked
from chexalign.store import Manifest
from chexalign.types import Estimate


@pytest.fixture
def unchecked(monkeypatch):
    """Names are not looked up, so that no package of a judge is needed."""
    monkeypatch.setattr(checks, "check_names", lambda recipe: None)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("arms.dpo_label.judge=chexprt", "did you mean 'chexpert'?"),
        ("evaluate.metrics=[chexpert, bleu_5]", "did you mean 'bleu_4'?"),
        ("arms.null_pairs.pairs.rule=coinflip", "did you mean 'coin_flip'?"),
        ("policy.template=finding@1", "findings@1"),
        ("data.source=openi_phantom", "did you mean 'openi-phantom'?"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "run", "sample"])
def test_a_wrong_name_is_told_before_the_run_folder_is_made(verb, setting, told, runs_folder, capsys):
    runs = [] if verb == "plan" else ["--runs", str(runs_folder)]
    without_weights = ["--set", "arms.dpo_bertscore.judge=rouge_l", "--set", "evaluate.metrics=[chexpert]"]
    assert main.main([verb, "quick", *without_weights, "--set", setting, *runs]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 3
    assert list(runs_folder.iterdir()) == []


def test_a_run_folder_in_use_is_refused(unchecked, runs_folder, capsys):
    with locked(runs_folder / "quick"):
        assert main.main(["sample", "quick", "--runs", str(runs_folder)]) == 2
    err = capsys.readouterr().err
    assert f"is in use by process {main.os.getpid()}" in err
    assert "--set run=NAME" in err


def test_a_run_folder_of_another_recipe_is_refused(runs_folder):
    go = carry_out.hold
    go(load_recipe("quick"), runs_folder, lambda work: None)
    go(load_recipe("quick", ["workers=7"]), runs_folder, lambda work: None)
    with pytest.raises(UserError, match=r"another recipe \(different: arms, seed\)"):
        go(load_recipe("quick", ["seed=5", "train.beta=0.2"]), runs_folder, lambda work: None)


@pytest.mark.parametrize("text", ["run: quick\nno_such_key: 1\n", "run: [quick\n", "quick\n"])
def test_a_run_folder_whose_recipe_cannot_be_read_is_refused(text, runs_folder):
    (runs_folder / "quick").mkdir()
    (runs_folder / "quick" / "recipe.yaml").write_text(text)
    with pytest.raises(UserError, match="cannot be read"):
        carry_out.hold(load_recipe("quick"), runs_folder, lambda work: None)


def test_a_report_of_no_run_is_refused_and_begins_none(runs_folder, capsys):
    assert main.main(["report", "quick", "--runs", str(runs_folder)]) == 2
    assert "`chexalign run quick`" in capsys.readouterr().err
    assert list(runs_folder.iterdir()) == []


def test_a_report_of_an_unfinished_run_says_what_to_do(runs_folder, capsys):
    carry_out.hold(load_recipe("quick"), runs_folder, lambda work: None)
    assert main.main(["report", "quick", "--runs", str(runs_folder)]) == 2
    assert "has no estimates yet" in capsys.readouterr().err


def test_tables_are_told_with_what_was_dropped(capsys):
    manifests = {"runs/x/pairs/a": Manifest("pairs", "f", {}, {}, 1, 24, {"tied": 16}, "c", 0.1)}
    carry_out.print_manifests(manifests, as_json=False)
    assert capsys.readouterr().out == "runs/x/pairs/a: 24 rows, 16 dropped: tied\n"
    carry_out.print_manifests(manifests, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "runs/x/pairs/a": {"rows": 24, "dropped": {"tied": 16}, "content": "c"}
    }


def test_evaluate_shows_a_difference_beside_its_baseline(unchecked, runs_folder, monkeypatch, capsys):
    estimates = [
        Estimate("chexpert", "a", "test", 0.123456, 0.1, 0.2, 0.9, 40, 40, "m", "sft"),
        Estimate("chexpert", "sft", "test", None, None, None, 0.9, 40, 40, "why"),
    ]
    monkeypatch.setattr(workflow.Workflow, "estimates", lambda self: estimates)
    assert main.main(["evaluate", "quick", "--runs", str(runs_folder)]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["METRIC", "POLICY", "BASELINE"]
    assert first.split() == ["chexpert", "a", "sft", "0.123", "0.100", "0.200", "0.9", "40"]
    assert second.split() == ["chexpert", "sft", "0.9", "40"]
    assert main.main(["evaluate", "quick", "--runs", str(runs_folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["value"] == 0.123456
