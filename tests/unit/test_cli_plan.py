"""A plan has every stage of the run under the name of its folder, and refuses what the run would refuse."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chexalign.cli import checks, main, plan
from chexalign.cli.look import Look
from chexalign.errors import UserError
from chexalign.judges import stage as judges_stage
from chexalign.recipe import JudgeSpec
from chexalign.recipe.load import load_recipe
from chexalign.run_folder import RunFolder
from chexalign.workflow import datasets


class FakeDataset:
    def __init__(self, **options: Any) -> None:
        self.options = options

    def items(self) -> tuple[list[int], dict[str, int]]:
        return [0] * sum(self.options["split"].values()), {"no_findings": 3}


class FakeJudge:
    def __init__(self, *, of: object = None, strict: bool = False) -> None:
        self.of, self.strict = of, strict


class FakeRule:
    pass


class FakeLoss:
    required = ("beta",)


FAKES = {"datasets": FakeDataset, "judges": FakeJudge, "pair_rules": FakeRule, "losses": FakeLoss}


@pytest.fixture
def fakes(monkeypatch):
    for module in (checks, judges_stage, datasets):
        monkeypatch.setattr(module, "registry", lambda kind: SimpleNamespace(get=lambda name: FAKES[kind]))


def test_plan_counts_the_rows_of_every_stage(fakes, capsys):
    assert main.main(["plan", "quick", "--json"]) == 0
    captured = capsys.readouterr()
    rows = {row["stage"]: row["rows"] for row in json.loads(captured.out)}
    recipe = load_recipe("quick")
    split, n, arms = recipe.data.split, recipe.sample.n, len(recipe.resolved_arms())
    assert rows["studies"] == sum(split.values())
    assert rows["prompts"] == split["prefer"]
    assert rows["candidates"] == rows["scores/chexpert"] == rows["scores/bertscore"] == n * split["prefer"]
    assert rows["ref_logps"] == min(n, 2 * arms) * split["prefer"]
    assert rows["predictions"] == split["test"] * (2 + arms)  # the shuffled control too
    assert rows["metrics"] == rows["predictions"] * len(recipe.evaluate.metrics)
    assert "left out: no_findings 3" in captured.err
    assert plan.BASIS in captured.err


def test_plan_gives_no_cost_for_a_model_it_has_not_measured(fakes, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    recipe = load_recipe("quick", [f"policy={{model: {tmp_path}}}", "evaluate.metrics=[acme]"])
    checks.check_names(recipe)
    rows = {stage.stage: stage.seconds for stage in plan.stages(recipe, Look(()))}
    assert rows["candidates"] is rows["ref_logps"] is rows["predictions"] is rows["metrics"] is None
    assert not [name for name in rows if name.startswith("pretrain")]


def test_plan_counts_what_makes_the_tiny_policy():
    tiny = "policy.tiny={vision_epochs: 2, language_epochs: 3, caption_epochs: 5, report_share: 0.5, variants: 4}"
    settings = [tiny, "data.split.sft=10", "data.split.prefer=6", "sft.epochs=7"]
    rows = {stage.stage: stage.rows for stage in plan.stages(load_recipe("quick", settings), Look(()))}
    assert rows["pretrain/phantoms"] == 4 * 16
    assert rows["pretrain/tower"] == (16 + 4 * 16) * 2
    assert (rows["pretrain/language"], rows["pretrain/caption"]) == (10 * 3, (16 + 4 * 16 + 5) * 5)
    assert rows["policy/sft"] == 10 * 7
    assert "pretrain/presence" not in rows
    more = load_recipe("quick", [*settings, "policy.tiny.presence=50"])
    assert {s.stage: s.rows for s in plan.stages(more, Look(()))}["pretrain/presence"] == 50


def test_plan_draws_nothing_where_the_images_are_given(tmp_path):
    recipe = load_recipe("quick", [f"data.images={tmp_path}", "policy.tiny.variants=4"])
    rows = {stage.stage: stage for stage in plan.stages(recipe, Look(()))}
    assert "pretrain/phantoms" not in rows
    assert rows["studies"].seconds == 0
    coded = recipe.data.split["sft"] + recipe.data.split["prefer"]
    assert rows["pretrain/tower"].rows == coded * recipe.policy.tiny.vision_epochs


def test_plan_names_every_stage_after_its_folder():
    recipe = load_recipe("quick")
    run = RunFolder(Path("r"))
    arms = recipe.resolved_arms()
    folders = [
        run.studies.folder,
        *map(run.pretrained, ("phantoms", "tower", "language", "caption")),
        run.policy("sft"),
    ]
    folders += [
        run.prompts.folder,
        run.candidates.folder,
        run.scores("chexpert").folder,
        run.scores("bertscore").folder,
    ]
    folders += [run.pairs(arm).folder for arm in arms] + [run.ref_logps] + [run.policy(arm) for arm in arms]
    folders += [run.predictions("sft").folder.parent, run.metric("chexpert", "sft").folder.parents[1]]
    assert [stage.stage for stage in plan.stages(recipe, Look(()))] == [str(path.relative_to("r")) for path in folders]


def test_plan_refuses_a_policy_folder_that_is_not_there(fakes, tmp_path):
    with pytest.raises(UserError, match="nothing is downloaded"):
        checks.check_names(load_recipe("quick", [f"policy={{model: {tmp_path}}}"]))


def test_plan_refuses_a_parameter_that_a_plugins_loss_lacks(fakes):
    recipe = load_recipe("quick", ["train={algorithm: acme_po, tau: 1, learning_rate: 1e-4}"])
    with pytest.raises(UserError, match=r"train\.beta is missing"):
        checks.check_names(recipe)


def test_plan_refuses_options_that_a_judge_does_not_take(fakes):
    spec = JudgeSpec.model_validate({"name": "lc", "of": {"name": "chexpert", "options": {"strict": True}}})
    assert judges_stage.make_judge(spec).of.strict
    with pytest.raises(UserError, match="judge chexpert with labels"):
        judges_stage.make_judge(JudgeSpec(name="chexpert", options={"labels": 3}))


def test_plan_names_an_unknown_judge():
    with pytest.raises(UserError, match="there is no judge 'bertscre'"):
        judges_stage.make_judge(JudgeSpec(name="bertscre"))


def test_plan_refuses_a_folder_of_images_that_is_not_there(fakes, tmp_path):
    with pytest.raises(UserError, match=r"no such folder"):
        checks.check_data(load_recipe("quick", [f"data.images={tmp_path / 'nowhere'}"]))


@pytest.mark.parametrize(("split", "warned"), [("test", False), ("validation", False), ("prefer", True), ("sft", True)])
def test_plan_warns_when_the_evaluated_split_is_trained_on(fakes, capsys, split, warned):
    assert main.main(["plan", "quick", "--set", f"evaluate.split={split}"]) == 0
    assert ("trained on" in capsys.readouterr().err) is warned


def test_plan_counts_held_out_pairs_and_a_limit_of_updates(fakes, capsys):
    settings = ("sft.max_steps=3", "train.hold_out=0.1", "train.epochs=2")
    arguments = [part for setting in settings for part in ("--set", setting)]
    assert main.main(["plan", "quick", "--json", *arguments]) == 0
    rows = {row["stage"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["policy/sft"]["rows"], rows["policy/sft"]["how"]) == (24, "160 studies x 4, updates: 3")
    assert (rows["policy/dpo_label"]["rows"], rows["policy/dpo_label"]["how"]) == (
        72,
        "at most, epochs: 2, 4 held out",
    )


def test_plan_refuses_a_batch_that_cannot_be_cut(fakes, capsys):
    assert main.main(["plan", "quick", "--set", "compute.per_device_batch=3"]) == 2
    assert "cannot be cut into" in capsys.readouterr().err
