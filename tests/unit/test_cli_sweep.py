"""Whatever is wrong with a sweep is told before its run folder is made, in three lines."""

from __future__ import annotations

import pytest

from chexalign.cli import main, sweep
from chexalign.recipe.load import load_recipe
from chexalign.sweep.trials import SPLIT, choose

QUICK = ["quick", "--set", "arms.dpo_bertscore.judge=rouge_l", "--set", "evaluate.metrics=[chexpert]"]
ARM = ["--arm", "dpo_label"]
BETA = ["--grid", "train.beta=0.1,0.2"]


def refused(capsys, runs_folder, *more: str) -> str:
    assert main.main(["sweep", *QUICK, "--runs", str(runs_folder), *more]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 3
    assert list(runs_folder.iterdir()) == []
    return err


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ([*ARM, "--grid", "train.bta=0.1"], "did you mean arms.dpo_label.train.beta?"),
        ([*ARM, "--grid", "trian.beta=0.1"], "did you mean train"),
        ([*ARM, "--grid", "train.tau=0.1,1"], "train.tau is no parameter of dpo, which takes beta"),
        ([*ARM, "--grid", "train.beta=0.1,-1"], "it must be more than 0"),
        ([*ARM, "--grid", "pairs.rule=best_worst,best_wrst"], "did you mean 'best_worst'?"),
        ([*ARM, "--grid", "sample.n=2,4"], "All trials share the stages before pairs"),
        ([*ARM, "--grid", "train.beta=0.1,1e-1"], "It is the same trial as"),
        ([*ARM, *BETA, "--tpe", "4"], "was given --grid and --tpe with --range"),
        (ARM, "was given nothing to search"),
        ([*ARM, "--tpe", "4"], "--tpe and --range go together"),
        ([*ARM, "--tpe", "4", "--range", "train.beta=-1..1"], "it must be more than 0"),
        ([*ARM, "--grid-file", "no_such_file.yaml"], "there is no YAML file that can be read"),
        (BETA, "--arm takes one of: dpo_label, dpo_bertscore, null_pairs"),
        (["--arm", "dpo_lable", *BETA], "write --arm dpo_label"),
        ([*ARM, *BETA, "--select", "lc-chexprt"], "write --select lc-chexpert"),
        ([*ARM, *BETA, "--select", "chexpert"], "--select takes one of: lc-chexpert, lc-rouge_l"),
        ([*ARM, *BETA, "--workers", "0"], "at least one worker"),
        ([*ARM, *BETA, "--name", "trials"], "is not trials"),
        ([*ARM, *BETA, "--name", "../x"], "lower-case letters"),
        ([*ARM, *BETA, "--set", "data.split.validation=0"], "has no studies for validation"),
        ([*ARM, *BETA, "--set", "sample.split=validation"], "on the studies that they learn from"),
    ],
)
def test_bad_input(more, what, capsys, runs_folder):
    assert what in refused(capsys, runs_folder, *more)


def test_the_option_is_named_where_the_value_was_given(capsys, runs_folder):
    assert refused(capsys, runs_folder, *ARM, "--grid", "train.bta=0.1").startswith("--grid: unknown key")


def test_a_run_of_another_recipe_is_refused(capsys, runs_folder, monkeypatch):
    monkeypatch.setattr("chexalign.sweep.stage.carry_out", lambda *_: pytest.fail("nothing must be carried out"))
    (runs_folder / "quick").mkdir()
    other = load_recipe("quick", [*QUICK[2::2], "seed=5"])
    (runs_folder / "quick" / "recipe.yaml").write_text(other.to_yaml())
    assert main.main(["sweep", *QUICK, "--runs", str(runs_folder), *ARM, *BETA]) == 2
    assert "another recipe (different: seed)" in capsys.readouterr().err


def test_the_judge_that_picks_is_that_of_the_arm_with_length_control():
    recipe = load_recipe("quick")
    chosen = choose(recipe, "dpo_bertscore", None)
    assert (chosen.select.name, chosen.select.inner[0].name, chosen.raw) == ("lc", "bertscore", "bertscore")
    lc = load_recipe("quick", ["arms.null_pairs.judge={name: lc, of: chexpert}"])
    assert choose(lc, "null_pairs", None).select == lc.arms["null_pairs"].judge
    assert choose(recipe, "dpo_label", "lc-rouge_l").raw == "rouge_l"
    assert sweep.EXAMPLE.startswith("chexalign sweep")


def test_a_trial_is_one_arm_on_the_validation_split_and_called_by_its_parameters():
    recipe = load_recipe("quick")
    chosen = choose(recipe, "dpo_label", None)
    name, trial = chosen.trial(recipe.arms["dpo_label"])
    assert list(trial.arms) == [name]
    assert trial.evaluate.split == SPLIT
    assert recipe.evaluate.split == "test"
    kept = ("data", "policy", "sft", "sample", "seed")
    assert all(getattr(trial, block) == getattr(recipe, block) for block in kept)
    other = load_recipe("quick", ["train.beta=0.2"]).arms["dpo_label"]
    assert chosen.trial(other)[0] != name
