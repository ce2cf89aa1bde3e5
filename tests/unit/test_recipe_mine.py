"""The block `mine` resolves as documented, every mistake in it is told with its key, and a digest sees what matters."""

from __future__ import annotations

import pytest

from chexalign.recipe import Recipe
from chexalign.recipe.errors import field_at, valid_keys
from chexalign.recipe.load import explain, load_recipe, read_source, validate
from tests.recipes import MINING, problem, writer

LLM = "{own: first, generator: llm, endpoint: {url: 'http://127.0.0.1:8000/v1', model: m}}"


@pytest.fixture
def write(tmp_path):
    make = writer(tmp_path)
    return lambda old="", new="": make(old, new, MINING)


def test_a_recipe_that_only_mines_has_no_preference_runs(write):
    recipe = load_recipe(write())
    assert recipe.resolved_arms() == {}
    assert list(recipe.learners()) == list(recipe.mined_arms())
    assert recipe.mine.selects == ["mined", "random"]
    assert Recipe.model_validate(recipe.to_dict()) == recipe


def test_arms_share_the_training_and_another_algorithm_inherits_no_parameter(write):
    arms = load_recipe(write()).mined_arms()
    assert [arm.train.parameters() for arm in arms.values()] == [{"beta": 0.1}, {"beta": 0.2}, {"tau": 0.3}, {}]
    assert [arm.train.learning_rate for arm in arms.values()] == [2e-4, 2e-4, 2e-4, 1e-4]


def test_mined_arms_stand_beside_those_that_learn_from_candidates(write):
    more = (
        "judge: chexpert\npairs: {rule: best_worst}\ntrain: {algorithm: dpo, beta: 0.5, learning_rate: 1.0e-4}\nmine:"
    )
    recipe = load_recipe(write("mine:", more))
    assert list(recipe.learners()) == ["dpo_chexpert", "dpo_mined", "dpo_random", "ipo_mined", "sft_mined"]
    assert recipe.mined_arms()["dpo_mined"].train.beta == 0.1


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("  seeds: 20\n", "", None, "mine.seeds is missing"),
        ("seeds: 20", "seeds: 0", 11, "mine.seeds is 0"),
        ("seeds: 20", "seeeds: 20", 11, "unknown key mine.seeeds"),
        ("seeds: 20", "seeds: 20\n  share: 1.5", 12, "mine.share is 1.5"),
        ("seeds: 20", "seeds: 20\n  share: 0", 12, "mine.share is 0"),
        ("seeds: 20", "seeds: 20\n  k: 0", 12, "mine.k is 0"),
        ("seeds: 20", "seeds: 20\n  ask: 0", 12, "mine.ask is 0"),
        ("seeds: 20", "seeds: 20\n  quota: fair", 12, "mine.quota is 'fair'"),
        ("collection: rsna\n", "collection: padchest\n", 7, "mine names the collection 'padchest'"),
        ("collection: rsna\n", "collection: slake\n", 7, "mine names the collection 'slake'"),
        ("aggregate: geometric_mean", "aggregate: median", 9, "mine.confidence.aggregate is 'median'"),
        (", span: answer", "", 9, "mine.confidence.span is missing"),
        ("failures: most_confident_wrong", "failures: hardest", 10, "mine.failures is 'hardest'"),
        ("likeness: q+e", "likeness: {question: 1, rationle: 1}", 12, "unknown key mine.likeness.rationle"),
        ("likeness: q+e", "likeness: {question: much}", 12, "mine.likeness.question is 'much'"),
        ("likeness: q+e", "likeness: 3", 12, "mine.likeness is 3"),
        ("{own: first}", "{own: always}", 13, "mine.counterfactual.own is 'always'"),
        ("{own: first}", "{generator: rules}", 13, "mine.counterfactual.own is missing"),
        ("{own: first}", "{own: first, generator: llm}", 13, "mine.counterfactual.endpoint goes with"),
        ("{own: first}", LLM.replace("llm,", "rules,"), 13, "mine.counterfactual.endpoint goes with"),
        ("{own: first}", LLM.replace("model: m", "modle: m"), 13, "unknown key mine.counterfactual.endpoint.modle"),
        ("seeds: 20", "seeds: 20\n  encoders: {text: sentence}", 12, "mine.encoders.text_folder goes with"),
        ("seeds: 20", "seeds: 20\n  encoders: {image_folder: x}", 12, "mine.encoders.image_folder goes with"),
        ("seeds: 20", "seeds: 20\n  encoders: {image: sentence}", 12, "mine.encoders.image is 'sentence'"),
        ("select: random", "select: hardest", 17, "mine.arms.dpo_random.select is 'hardest'"),
        ("{select: mined}", "", 16, "mine.arms.dpo_mined.select is missing"),
        ("{select: mined}", "{selct: mined}", 16, "unknown key mine.arms.dpo_mined.selct"),
        ("{beta: 0.2}", "{beat: 0.2}", 17, "unknown key mine.arms.dpo_random.train.beat"),
        ("beta: 0.1, ", "bta: 0.1, ", 14, "unknown key mine.train.bta"),
        ("beta: 0.1, ", "", 14, "mine.train.beta is missing"),
        (", learning_rate: 2.0e-4", "", 14, "mine.train.learning_rate is missing"),
        (", tau: 0.3", "", 18, "mine.arms.ipo_mined.train.tau is missing"),
        ("algorithm: sft,", "algorithm: sft, beta: 0.1,", 19, "mine.arms.sft_mined.train gives beta"),
        ("dpo_mined:", "sft:", 15, "mine.arms has an arm named 'sft'"),
        ("dpo_mined:", "DPO:", 15, "mine.arms has an arm named 'DPO'"),
        ("  arms:", "  arms: {}\n  unused:", 15, "mine.arms is a block of keys"),
    ],
)
def test_mistakes_are_told_with_their_key_and_line(write, old, new, line, told):
    error = problem(write(old, new))
    assert told in error.what, error
    assert line is None or f"line {line}: " in error.what
    assert len(str(error).splitlines()) == 3


@pytest.mark.parametrize(
    ("old", "new", "fix"),
    [
        ("seeds: 20", "seeeds: 20", "did you mean mine.seeds?"),
        ("beta: 0.1, ", "bta: 0.1, ", "did you mean mine.train.beta?"),
        ("{select: mined}", "{selct: mined}", "did you mean mine.arms.dpo_mined.select?"),
        ("question: 1, ", "", ""),
        ("run: mining", "run: mining\nlikeness: q+e", "did you mean mine.likeness?"),
        ("aggregate: geometric_mean", "agregate: mean", "did you mean mine.confidence.aggregate?"),
    ],
)
def test_a_misspelt_key_is_told_the_nearest_one(write, old, new, fix):
    if fix:
        assert fix in problem(write(old, new)).fix
    else:
        assert "did you mean mine.likeness.rationale?" in problem(write("q+e", "{rationle: 1}")).fix


def test_two_policies_may_not_share_a_name(write):
    both = "arms: {dpo_mined: {judge: chexpert, pairs: {rule: best_worst}, train: {algorithm: dpo, beta: 0.1, "
    error = problem(write("mine:", f"{both}learning_rate: 1.0e-4}}}}}}\nmine:"))
    assert "arm named 'dpo_mined', as mine.arms has" in error.what


def test_a_recipe_without_arms_or_mining_evaluates_the_policy_as_it_is(write):
    lines = MINING.splitlines()
    path = write()
    path.write_text("\n".join([*lines[: lines.index("mine:")], "arms: {}", ""]))
    assert load_recipe(path).learners() == {}


def test_studies_to_draw_candidates_for_are_needed_where_candidates_are_drawn(write):
    assert load_recipe(write("prefer: 40, ", "")).sample.split == "prefer"
    arm = "judge: chexpert\npairs: {rule: best_worst}\ntrain: {algorithm: dpo, beta: 0.5, learning_rate: 1.0e-4}\nmine:"
    path = write("mine:", arm)
    path.write_text(path.read_text().replace("prefer: 40, ", ""))
    error = problem(path)
    assert "works on the split 'prefer', which has no studies" in error.what
    assert "give data.split.prefer" in error.fix


def test_an_override_changes_a_value_of_the_block(write):
    recipe = load_recipe(write(), ["mine.seeds=10", "mine.train.beta=0.3", "mine.arms.dpo_random.train.beta=0.4"])
    assert recipe.mine.seeds == 10
    arms = recipe.mined_arms()
    assert (arms["dpo_mined"].train.beta, arms["dpo_random"].train.beta) == (0.3, 0.4)


@pytest.mark.parametrize(
    ("setting", "why", "fix"),
    [
        (
            "mine.train.learning_rate=1",
            "every arm of the recipe has its own",
            "mine.arms.dpo_mined.train.learning_rate=1",
        ),
        ("train.beta=0.3", "all learn from mined questions", "--set mine.train.beta=0.3"),
        ("judge=green", "all learn from mined questions", "leave it out"),
        ("pairs.min_margin=1", "all learn from mined questions", "leave it out"),
    ],
)
def test_an_override_without_effect_is_refused(write, setting, why, fix):
    own = "train: {learning_rate: 1.0e-4}}"
    path = write("{select: mined}", f"{{select: mined, {own}")
    path.write_text(
        path.read_text()
        .replace("{beta: 0.2}", "{beta: 0.2, learning_rate: 1}")
        .replace("tau: 0.3", "tau: 0.3, learning_rate: 1")
    )
    error = problem(path, setting)
    assert why in error.why
    assert fix in error.fix
    assert len(str(error).splitlines()) == 3


def test_a_misspelt_override_is_told(write):
    error = problem(write(), "mine.seeeds=10")
    assert "--set: unknown key mine.seeeds" in error.what
    assert "did you mean mine.seeds?" in error.fix


def test_explain_says_where_each_value_is_from(write):
    source = read_source(write(), ["mine.seeds=10"])
    rows = {row.key: row for row in explain(validate(source), source)}
    origins = {
        "mine.seeds": "--set",
        "mine.likeness": "recipe line 12",
        "mine.k": "default",
        "mine.confidence.span": "recipe line 9",
        "mine.counterfactual.generator": "default",
        "mine.arms.dpo_mined.select": "recipe line 16",
        "mine.arms.dpo_mined.train.beta": "recipe line 14",
        "mine.arms.dpo_random.train.beta": "recipe line 17",
        "mine.arms.ipo_mined.train.learning_rate": "recipe line 14",
        "mine.arms.ipo_mined.train.epochs": "default",
    }
    assert {key: rows[key].origin for key in origins} == origins
    assert all(row.doc for key, row in rows.items() if key.startswith("mine."))
    assert "mine.arms.ipo_mined.train.beta" not in rows
    assert (rows["evaluate.temperature"].value, rows["evaluate.interval"].value) == (0.0, "percentile")


def test_keys_of_the_block_are_found(write):
    train = field_at(("mine", "train", "beta"))
    assert field_at(("mine", "arms", "any", "train", "beta")) is train is not None
    assert field_at(("mine", "arms", "select", "select")).description.startswith("mined: likeness")
    assert field_at(("mine", "arms", "any", "nothing")) is None
    assert valid_keys(("mine", "arms", "any")) == ["select", "train"]
    assert valid_keys(("mine",))[-1] == "train"
    assert valid_keys(("mine", "likeness")) == ["question", "rationale", "image", "findings"]
    assert valid_keys(("mine", "likeness", "question")) == []
    assert "lambda" in valid_keys(("mine", "train"))
    assert valid_keys(("mine", "counterfactual", "endpoint"))[:2] == ["url", "model"]


@pytest.mark.parametrize(
    "setting",
    [
        "mine.counterfactual.endpoint.url=http://10.0.0.1:8000/v1",
        "mine.counterfactual.endpoint.concurrency=4",
        "mine.counterfactual.endpoint.endpoint_is_mine=true",
        "workers=1",
    ],
)
def test_the_digest_does_not_see_how_a_server_is_reached(write, setting):
    path = write("{own: first}", LLM)
    assert load_recipe(path, [setting]).digest() == load_recipe(path).digest()


@pytest.mark.parametrize(
    "setting",
    [
        "mine.seeds=10",
        "mine.ask=100",
        "mine.counterfactual.endpoint.model=other",
        "mine.counterfactual.endpoint.extra_body={top_k: 5}",
        "mine.counterfactual.temperature=0.2",
        "mine.arms.dpo_mined.train.beta=0.2",
        "mine.likeness=q+v",
        "mine.encoders={text: sentence, text_folder: x}",
    ],
)
def test_the_digest_sees_what_changes_a_result(write, setting):
    path = write("{own: first}", LLM)
    assert load_recipe(path, [setting]).digest() != load_recipe(path).digest()
