"""A plan counts what mining makes, and refuses what could not be mined."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from chexalign.cli import checks, plan
from chexalign.cli.look import Look
from chexalign.cli.plan_mining import mining_of, mining_warnings
from chexalign.cli.plan_questions import Listed, answer_rows
from chexalign.errors import UserError
from chexalign.recipe.load import load_recipe
from chexalign.run_folder import RunFolder
from tests.recipes import MINING, writer

OTHER = Listed(Counter(train=10, test=50), 10, 10, 10, "CC0")


def listed(**changes):
    """Collections of which the first has 900 training questions, 600 that can be learned from."""
    return {"rsna": replace(Listed(Counter(train=900, test=80), 600, 600, 600, "CC0"), **changes), "slake": OTHER}


@pytest.fixture
def recipe(tmp_path):
    path = writer(tmp_path)(text=MINING)
    return lambda *settings: load_recipe(path, settings)


def rows_of(recipe, found):
    return {row.stage: row for row in plan.stages(recipe, Look(()), found, mining_of(recipe, found))}


def test_every_stage_is_named_after_its_folder_and_none_is_that_of_candidates(recipe):
    made, run = recipe(), RunFolder(Path("r"))
    folders = [run.questions("rsna").folder, run.questions("slake").folder, run.policy("sft")]
    folders += [run.mine_answers.folder, run.mine_features, run.mined("mined").folder, run.mined("random").folder]
    folders += [run.counterfactuals.folder, *(run.pairs(name).folder for name in made.learners()), run.ref_logps]
    folders += [run.policy(name) for name in made.learners()]
    folders += [run.root / "predictions", run.root / "metrics", run.root / "answers/rsna", run.root / "answers/slake"]
    stages = [name for name in rows_of(made, listed()) if not name.startswith("pretrain") and name != "studies"]
    assert stages == [str(folder.relative_to("r")) for folder in folders]


def test_rows_are_those_of_the_questions_that_sft_learns_from(recipe):
    rows = rows_of(recipe("mine.ask=200"), listed())
    assert rows["policy/sft"].rows == (160 + 600) * 2
    assert rows["mine/answers"].rows == 200
    assert rows["mine/features"].rows == 600 * 4
    assert rows["mine/sets/mined"].rows == rows["pairs/dpo_mined"].rows == 30
    assert rows["mine/counterfactuals"].rows == 60
    assert rows["ref_logps"].rows == 2 * 60
    assert rows["policy/sft_mined"].unit == "right answers"
    assert rows["predictions"].rows == 40 * (2 + 4)
    assert rows["answers/rsna"].rows == 80 * 2 * 5


def test_trainings_have_the_length_that_the_recipe_gives_them(recipe):
    rows = rows_of(recipe("mine.train.epochs=3", "mine.arms.dpo_random.train.max_steps=1"), listed())
    assert (rows["policy/dpo_mined"].rows, rows["policy/dpo_random"].rows) == (90, 16)


def test_arms_on_candidates_stand_beside_mined_ones(recipe):
    arm = "arms={a: {judge: chexpert, pairs: {rule: best_worst}, train: {algorithm: dpo, beta: 1, learning_rate: 1}}}"
    rows = rows_of(recipe(arm), listed())
    assert rows["candidates"].rows == 160
    assert rows["ref_logps"].rows == 2 * 40 + 2 * 60
    assert rows["predictions"].rows == 40 * (2 + 5)


def test_a_collection_without_a_limit_is_asked_in_full(recipe):
    assert [row[1] for row in answer_rows(recipe("questions.orders=1"), listed())] == [80 * 5, 50 * 5]


@pytest.mark.parametrize(
    ("settings", "changes", "told"),
    [
        (["mine.seeds=2", "mine.k=1"], {}, "the set mined has 30 questions"),
        (["mine.arms={a: {select: confidence}}", "mine.ask=29"], {}, "the set confidence has 30 questions"),
        (["mine.share=0.0001"], {}, "comes to no item"),
        ([], {"usable": 0}, "SFT can learn no question"),
        ([], {"founded": 0}, "weighs findings"),
        (["mine.purity=[q+d]"], {}, "no variant of similarity"),
    ],
)
def test_what_cannot_be_mined_is_refused(recipe, settings, changes, told):
    with pytest.raises(UserError, match=told) as caught:
        mining_of(recipe(*settings), listed(**changes))
    assert len(str(caught.value).splitlines()) == 3


def test_findings_that_nothing_weighs_may_be_missing(recipe):
    assert mining_of(recipe("mine.purity=[q+e]"), listed(founded=0)).modalities == ("question", "rationale")


def server(url, mine="false"):
    return [
        "mine.counterfactual.generator=llm",
        f"mine.counterfactual.endpoint={{url: {url}, model: m, endpoint_is_mine: {mine}}}",
    ]


def test_questions_go_to_no_server_that_may_not_have_them(recipe):
    closed = listed(license="PhysioNet Credentialed Health Data License")
    with pytest.raises(UserError, match="Credentialed"):
        mining_of(recipe(*server("http://10.0.0.1/v1")), closed)
    for settings in (server("http://127.0.0.1/v1"), server("http://10.0.0.1/v1", "true")):
        assert mining_of(recipe(*settings), closed) is not None
    assert mining_of(recipe(*server("http://10.0.0.1/v1")), listed()) is not None


@pytest.mark.parametrize(
    ("settings", "changes", "told"),
    [
        (["mine.ask=700"], {}, "mine.ask is 700, and SFT learns from at most 600"),
        (["mine.seeds=700"], {}, "every failure becomes a seed"),
        ([], {"explained": 500}, "100 of 600 training questions of rsna have no rationale"),
        ([], {"founded": 550}, "50 of 600 training questions of rsna have no evidence"),
        (
            ["mine.seeds=30", "mine.arms.more={select: confidence}", "mine.ask=600"],
            {},
            "seeds come first, so the sets mined and confidence are the same",
        ),
    ],
)
def test_what_is_asked_for_and_not_there_is_told(recipe, settings, changes, told):
    assert [told in line for line in mining_warnings(mining_of(recipe(*settings), listed(**changes)))] == [True]


def test_nothing_is_told_where_all_is_there(recipe):
    assert list(mining_warnings(mining_of(recipe(), listed()))) == []


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("mine.encoders={text: sentence, text_folder: nowhere}", r"mine\.encoders\.text_folder is 'nowhere'"),
        ("mine.encoders={image: open_clip, image_folder: nowhere}", r"mine\.encoders\.image_folder is 'nowhere'"),
        ("mine.likeness=q+w", "no variant of similarity 'q\\+w'"),
        ("mine.arms.dpo_mined.train={algorithm: acme}", "acme"),
        ("mine.counterfactual={own: first, generator: llm, prompt: nowhere, endpoint: {url: u, model: m}}", "nowhere"),
    ],
)
def test_names_are_checked_before_anything_is_spent(recipe, setting, told):
    with pytest.raises(UserError, match=told):
        checks.check_mining(recipe(setting).mine)


def test_a_split_that_no_candidate_is_drawn_for_is_not_learned_from(recipe):
    assert checks.seen_in_training(recipe("evaluate.split=prefer")) is None
    assert checks.seen_in_training(recipe("evaluate.split=sft")) is not None
