"""A recipe resolves as documented, and every mistake in one is told in three lines that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from chexalign.recipe import JudgeSpec, Recipe, TinySpec, folder_name
from chexalign.recipe.errors import field_at, valid_keys
from chexalign.recipe.load import explain, find_recipe, load_recipe, read_source, recipe_names, validate
from tests.recipes import plain, problem, writer


@pytest.fixture
def write(tmp_path):
    return writer(tmp_path)


@pytest.mark.parametrize("name", recipe_names())
def test_every_built_in_recipe_loads_and_survives_writing(name):
    recipe = load_recipe(name)
    again = Recipe.model_validate(yaml.safe_load(recipe.to_yaml()))
    assert again == recipe
    assert again.digest() == recipe.digest()


@pytest.mark.parametrize("name", recipe_names())
def test_every_built_in_recipe_opens_with_its_command_and_cost(name):
    head = find_recipe(name).read_text().split("\nrun:")[0]
    assert f"chexalign run {name}" in head
    assert "Cost:" in head


def test_the_demo_is_the_announced_experiment():
    recipe = load_recipe("demo")
    assert set(recipe.data.split) == {"sft", "prefer", "validation", "test"}
    assert (recipe.sample.n, recipe.sample.temperature, recipe.sample.split) == (4, 1.0, "prefer")
    arms = recipe.resolved_arms()
    assert {name: (arm.judge.name, arm.pairs.rule) for name, arm in arms.items()} == {
        "dpo_label": ("chexpert", "best_worst"),
        "dpo_bertscore": ("bertscore", "best_worst"),
        "null_pairs": ("chexpert", "coin_flip"),
    }
    assert {(arm.train.algorithm, *arm.train.parameters().items()) for arm in arms.values()} == {("dpo", ("beta", 0.1))}
    assert len({(arm.train.model_dump_json(), arm.pairs.min_margin) for arm in arms.values()}) == 1
    assert recipe.evaluate.split == "test"


def test_the_quick_recipe_walks_the_demo_in_small():
    demo, quick = load_recipe("demo"), load_recipe("quick")
    assert quick.resolved_arms().keys() == demo.resolved_arms().keys()
    assert quick.evaluate.metrics == demo.evaluate.metrics
    assert sum(quick.data.split.values()) < sum(demo.data.split.values()) / 5


def test_without_arms_there_is_one_named_after_its_algorithm_and_judge():
    assert list(Recipe.model_validate(plain()).resolved_arms()) == ["dpo_chexpert"]
    wrapped = plain() | {"judge": {"name": "lc", "of": "bertscore"}}
    assert list(Recipe.model_validate(wrapped).resolved_arms()) == ["dpo_lc-bertscore"]


def test_an_arm_replaces_the_judge_and_merges_the_rest():
    raw = plain() | {
        "judge": {"name": "chexpert", "options": {"labels": 5}},
        "pairs": {"rule": "best_worst", "min_margin": 0.2},
        "arms": {"a": None, "b": {"judge": "bertscore", "pairs": {"rule": "coin_flip"}, "train": {"beta": 0.5}}},
    }
    arms = Recipe.model_validate(raw).resolved_arms()
    assert arms["a"].judge.options == {"labels": 5}
    assert arms["b"].judge == JudgeSpec(name="bertscore")
    assert (arms["b"].pairs.rule, arms["b"].pairs.min_margin) == ("coin_flip", 0.2)
    assert (arms["b"].train.beta, arms["b"].train.learning_rate) == (0.5, 2e-4)


def test_an_arm_with_another_algorithm_does_not_inherit_the_firsts_parameters():
    raw = plain() | {"arms": {"a": None, "b": {"train": {"algorithm": "ipo", "tau": 0.3}}}}
    assert Recipe.model_validate(raw).resolved_arms()["b"].train.parameters() == {"tau": 0.3}


def test_evaluation_writes_as_long_as_sampling_unless_told(write):
    assert load_recipe(write("max_new_tokens: 96", "max_new_tokens: 50")).evaluate.max_new_tokens == 50
    assert load_recipe("demo", ["evaluate.max_new_tokens=7"]).evaluate.max_new_tokens == 7
    assert load_recipe("demo", ["evaluate.max_new_tokens=null"]).evaluate.max_new_tokens == 96


def test_the_digest_ignores_workers_and_sees_everything_else():
    demo = load_recipe("demo")
    assert load_recipe("demo", ["workers=7"]).digest() == demo.digest()
    assert load_recipe("demo", [f"threads={demo.threads + 1}"]).digest() != demo.digest()
    assert load_recipe("demo", ["seed=12"]).digest() != demo.digest()
    assert load_recipe("demo", ["train.beta=0.2"]).digest() != demo.digest()


def test_the_digest_ignores_how_work_is_spread_tried_again_and_refused():
    demo = load_recipe("demo")
    same = ("sample.max_dropped=0.5", "cluster={actors: 3}", "compute={data_workers: 2}")
    assert {load_recipe("demo", [setting]).digest() for setting in same} == {demo.digest()}
    server = "sample.endpoint={url: 'http://127.0.0.1:8000/v1', model: m%s}"
    served = load_recipe("demo", [server % ""]).digest()
    assert served != demo.digest()
    assert load_recipe("demo", [server % ", concurrency: 3, retries: 1"]).digest() == served
    others = ("sample.top_k=5", "sample.batch_size=auto", "compute={generate: bf16}", server % ", extra_body: {a: 1}")
    assert len({load_recipe("demo", [setting]).digest() for setting in others} | {demo.digest(), served}) == 6


def test_the_tiny_policy_has_its_defaults_written_out(write):
    tiny = load_recipe(write()).policy.tiny
    assert tiny == TinySpec()
    assert tiny.report_share == 0.25
    assert Recipe.model_validate(plain()).policy.tiny is None


def test_shares_and_weights_have_bounds(write):
    path = write("model: tiny", "model: tiny\n  tiny: {report_share: 1.5}")
    assert "policy.tiny.report_share is 1.5" in problem(path).what
    assert "sft.weight_decay is -1" in problem(write(), "sft.weight_decay=-1").what
    assert "threads is 0" in problem(write(), "threads=0").what
    assert "policy.max_tokens is 3" in problem(write(), "policy.max_tokens=3").what


def test_folder_names():
    assert folder_name(JudgeSpec(name="chexpert")) == "chexpert"
    assert folder_name(JudgeSpec.model_validate({"name": "lc", "of": {"name": "bertscore"}})) == "lc-bertscore"


MISTAKES = {
    "misspelt": ("n: 4", "nn: 4", "line 14: unknown key sample.nn", "sample takes: n, temperature", "sample.n?"),
    "misspelt choice": (
        "beta: 0.1",
        "betta: 0.1",
        "unknown key train.betta",
        "train takes",
        "did you mean train.beta?",
    ),
    "misplaced": (
        "run: example",
        "run: example\nbeta: 1",
        "line 8: unknown key beta",
        "a recipe takes: run",
        "train.beta?",
    ),
    "top level": ("seed: 11", "sead: 11", "line 8: unknown key sead", "a recipe takes: run", "did you mean seed?"),
    "in an arm": ("rule: coin_flip", "rle: 3", "unknown key arms.null_pairs.pairs.rle", "takes: rule", "pairs.rule?"),
    "split name": ("prefer: 900", "prefr: 9", "unknown key data.split.prefr", "sft, prefer", "data.split.prefer?"),
    "wrong type": ("n: 4", "n: four", "sample.n is 'four'", "a whole number: candidates per prompt", "`n: 4`"),
    "too small": ("n: 4", "n: 1", "sample.n is 1", "at least 2", "`n: 4`"),
    "not in list": (
        "[vision]",
        "[vison]",
        "policy.freeze[0] is 'vison'",
        "one of 'vision', 'pro",
        "`freeze: [vision]`",
    ),
    "not finite": ("0.90", ".nan", "evaluate.level is nan", "a finite number", "`level: 0.9`"),
    "empty": ("seed: 11", "seed:", "line 8: seed is empty", "a whole number", "`seed: 11`"),
    "not a block": ("{rule: coin_flip}", "3", "null_pairs.pairs is 3", "a block of keys", "`pairs: {rule: ...}`"),
    "run name": ("run: example", "run: A/b", "run is 'A/b'", "lower-case letters", "`run: demo`"),
    "no rule": (
        "pairs: {rule: coin_flip}",
        "pairs: {}",
        "arms.null_pairs.pairs.rule is missing",
        "no default",
        "`rule",
    ),
    "no judge": ("judge: bertscore, ", "", "arms.dpo_bertscore.judge is missing", "no default", "`judge: {name: ...}`"),
    "no algorithm": ("algorithm: dpo, ", "", "train.algorithm is missing", "no default", "`algorithm: dpo`"),
    "no sft": (
        "sft: {epochs",
        "# {",
        "sft is missing",
        "the tiny policy writes reports only after SFT",
        "`sft: {epochs",
    ),
    "foreign": ("beta: 0.1", "beta: 0.1, tau: 1", "train.tau is no parameter of dpo, which", "IPO", "remove tau"),
    "reduction": (
        "algorithm: dpo, beta: 0.1",
        "algorithm: ipo, tau: 0.1, reduction: mean",
        "train.reduction is 'mean'",
        "one of 'sum_logp' or 'mean_logp'",
        "`reduction: mean_logp`",
    ),
    "no weight": (
        "algorithm: dpo",
        "algorithm: kto, lambda_r: 0",
        "train.lambda_r is 0",
        "more than 0",
        "`lambda_r: 1.0`",
    ),
    "negative SFT": (
        "beta: 0.1",
        "beta: 0.1, sft_weight: -1",
        "train.sft_weight is -1",
        "at least 0",
        "`sft_weight: 0.1`",
    ),
    "smoothed KTO": (
        "algorithm: dpo",
        "algorithm: kto, label_smoothing: 0.1",
        "train.label_smoothing is no parameter of kto, which takes beta, lambda_c and lambda_r",
        "wrongly ordered",
        "remove label_smoothing",
    ),
    "bare lc": (
        "judge: bertscore",
        "judge: lc",
        "dpo_bertscore.judge.of is missing",
        "judge lc corrects",
        "`of: green`",
    ),
    "no studies": ("test: 581", "test: 0", "evaluate works on the split 'test'", "comparison", "give data.split.test"),
    "twice": ("rouge_l", "chexpert", "evaluate.metrics names judge chexpert twice", "judges", "keep one"),
    "arm name": ("null_pairs:", "Nil:", "arms has an arm named 'Nil'", "preference runs", "lower-case"),
    "reserved arm": ("null_pairs:", "sft:", "arms has an arm named 'sft'", "preference runs", "not sft"),
    "control": ("null_pairs:", "sft_shuffled:", "arms has an arm named 'sft_shuffled'", "preference", "sft_shuffled"),
    "all frozen": (
        "[vision]",
        "[vision, language, projector]",
        "policy.freeze freezes every part",
        "no training changes",
        "leave a part out",
    ),
    "tiny folder": ("model: tiny", "model: m\n  tiny: {}", "policy.tiny says how", "tiny", "remove policy.tiny"),
    "options": (
        "null_pairs: {judge: chexpert",
        "null_pairs: {judge: {name: chexpert, options: {a: 1}}",
        "arms gives judge chexpert two sets of options",
        "preference runs",
        "give one a label",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_key(write, name):
    old, new, what, why, fix = MISTAKES[name]
    path = write(old, new)
    error = problem(path)
    assert str(path) in error.what
    assert what in error.what
    assert why in error.why
    assert fix in error.fix
    assert str(error).count("\n") == 2


def test_the_other_problems_of_the_file_are_named(write):
    path = write("n: 4, temperature: 1.0", "n: x, temperature: 0, top: 1")
    error = problem(path)
    assert "sample.n is 'x'" in error.what
    assert error.fix.endswith("(2 more: sample.temperature, sample.top)")


def test_an_inherited_mistake_is_told_once_where_it_is_written(write):
    error = problem(write("global_batch: 16", "global_batch: 0"))
    assert "line 15: train.global_batch is 0" in error.what
    assert "more" not in error.fix


def test_an_arm_that_changes_the_algorithm_is_told_its_own_missing_parameter(write):
    path = write("rule: coin_flip}", "rule: coin_flip}, train: {algorithm: lc_dpo, alpha: 0.1}")
    assert "line 19: arms.null_pairs.train.beta is missing" in problem(path).what


@pytest.mark.parametrize(
    ("text", "what", "why"),
    [
        ("run: [a", "line 1 is not YAML", "expected"),
        ("run: a\nrun: b", "line 2 is not YAML", "'run' is given twice"),
        ("", "is not a recipe", "top level"),
        ("- a", "is not a recipe", "top level"),
        ("run: \x00", "is not YAML", "unacceptable character"),
    ],
)
def test_broken_yaml_names_the_line(write, text, what, why):
    error = problem(write(text=text))
    assert what in error.what
    assert why in error.why


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in problem(path).why


@pytest.mark.parametrize("name", ["demmo", "recipes/demmo.yaml"])
def test_a_missing_file_names_the_nearest(name):
    error = problem(Path(name))
    assert "did you mean 'demo'?" in error.fix


@pytest.mark.parametrize("name", ["demo", "demo.yaml", "recipes/demo.yaml"])
def test_a_built_in_recipe_is_found_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_recipe(name).run == "demo"


def test_floats_in_scientific_notation_are_numbers_even_in_options(write):
    path = write("judge: bertscore", "judge: {name: bertscore, label: odd, options: {eps: 1e-4, big: 3E+5, word: e5}}")
    options = load_recipe(path).resolved_arms()["dpo_bertscore"].judge.options
    assert options == {"eps": 1e-4, "big": 3e5, "word": "e5"}


def test_overrides_are_yaml_and_apply_in_order():
    recipe = load_recipe("demo", ["train.beta=0.5", "train.beta=0.05", "data.views=[frontal, lateral]"])
    assert recipe.resolved_arms()["null_pairs"].train.beta == 0.05
    assert recipe.data.views == ["frontal", "lateral"]


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("sample", "--set sample"),
        (".n=3", "--set .n=3"),
        ("sample.n.q=3", "--set sample.n.q=3"),
        ("sample.n=[", "--set sample.n=["),
        ("sample.n=x", "--set: sample.n is 'x'"),
        ("sample.q=1", "--set: unknown key sample.q"),
        ("smple.n=1", "--set: unknown key smple"),
    ],
)
def test_a_wrong_override_is_told_as_such(override, what):
    assert problem(Path("demo"), override).what == what


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("judge=bertscore", "judge"),
        ("judge.options.labels=5", "judge"),
        ("pairs.rule=coin_flip", "pairs.rule"),
        ("pairs={rule: coin_flip}", "pairs"),
    ],
)
def test_an_override_that_every_arm_replaces_is_refused(write, override, key):
    error = problem(write(), override)
    assert error.what == f"--set {override}"
    assert f"every arm of the recipe has its own {key}" in error.why
    assert error.fix.endswith(f"--set arms.dpo_label.{override}")


def test_what_is_said_instead_of_an_override_without_effect_works(write):
    fix = problem(write(), "pairs.rule=coin_flip").fix
    assert load_recipe(write(), [fix.rpartition("--set ")[2]]).resolved_arms()["dpo_label"].pairs.rule == "coin_flip"


def test_an_override_that_some_arm_takes_is_applied(write):
    assert (
        load_recipe(write(), ["pairs={rule: a, min_margin: 0.5}"]).resolved_arms()["dpo_label"].pairs.min_margin == 0.5
    )
    path = write("judge: chexpert, pairs: {rule: coin_flip}", "pairs: {rule: coin_flip}")
    assert load_recipe(path, ["judge=bertscore"]).resolved_arms()["null_pairs"].judge.name == "bertscore"


def test_explain_says_where_each_value_came_from(write):
    source = read_source(write(), ["train.beta=0.05", "data.split.sft=10"])
    rows = {row.key: row for row in explain(validate(source), source)}
    assert (rows["seed"].value, rows["seed"].origin) == (11, "recipe line 8")
    assert rows["data.split"].origin == "--set"
    assert rows["arms.dpo_label.train.beta"].origin == "--set"
    assert rows["arms.dpo_label.train.learning_rate"].origin == "recipe line 15"
    assert rows["arms.dpo_label.judge"].origin == "recipe line 17"
    assert rows["arms.dpo_label.pairs.min_margin"].origin == "default"
    assert rows["evaluate.max_new_tokens"].origin == "recipe line 14"
    assert "arms.dpo_label.train.tau" not in rows
    assert all(row.doc for row in rows.values())


def test_explain_writes_a_recipe_without_arms_as_its_file_does(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(yaml.safe_dump(plain(), sort_keys=False))
    source = read_source(path)
    rows = {row.key: row for row in explain(validate(source), source)}
    assert rows["judge"].value == "chexpert"
    assert rows["train.beta"].origin == "recipe line 14"
    assert not [key for key in rows if key.startswith("arms")]


def test_every_key_has_a_description():
    def walk(key: tuple[str, ...]) -> None:
        for name in valid_keys(key):
            here = (*key, name)
            if name not in ("of", "first", "arms") and key != ("data", "split"):  # the first two hold judges again
                found = field_at(here)
                assert found is not None
                assert found.description, here
                walk(here)

    walk(())


def test_a_recipe_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load_recipe("demo").seed = 3


def test_the_judge_of_an_arm_is_measured_though_no_metric_names_it(write):
    recipe = load_recipe(write(), ["evaluate.metrics=[rouge_l, chexpert]"])
    assert [judge.name for judge in recipe.measured()] == ["rouge_l", "chexpert", "bertscore"]


SUM = {"name": "sum", "of": ["chexpert", {"name": "lc", "of": "bertscore"}], "options": {"weights": [2, 1]}}


@pytest.mark.parametrize(
    ("judge", "written", "folder"),
    [
        ("chexpert", "chexpert", "chexpert"),
        ({"name": "lc", "of": "green"}, {"name": "lc", "of": "green", "options": {}}, "lc-green"),
        (
            SUM,
            SUM | {"of": ["chexpert", {"name": "lc", "of": "bertscore", "options": {}}]},
            "sum-chexpert-and-lc-bertscore",
        ),
        (
            {"name": "bertscore", "budget": {"share": 0.5, "first": "chexpert"}},
            {"name": "bertscore", "options": {}, "budget": {"share": 0.5, "first": "chexpert", "check": 0.05}},
            "bertscore",
        ),
    ],
)
def test_a_judge_is_written_as_it_was_given(judge, written, folder):
    recipe = Recipe.model_validate(plain() | {"judge": judge})
    ((name, arm),) = recipe.resolved_arms().items()
    assert arm.judge.model_dump(mode="json") == written
    assert folder_name(arm.judge) == folder
    assert Recipe.model_validate(recipe.to_dict() | {"arms": {"a": recipe.to_dict()["arms"][name]}}).to_dict()[
        "arms"
    ] == {"a": recipe.to_dict()["arms"][name]}


@pytest.mark.parametrize(
    ("judge", "what", "fix"),
    [
        ("{name: sum}", "dpo_label.judge.of is missing", "add for example"),
        ("{name: sum, of: chexpert}", "of names one judge, and sum combines several", "give a list"),
        ("{name: sum, of: [chexpert]}", "of names one judge, and sum combines several", "give a list"),
        ("{name: sum, of: [chexpert, chexpert]}", "of names judge chexpert twice", "keep one"),
        ("{name: lc, of: [chexpert, rouge_l]}", "of names several judges, and lc corrects one", "name one"),
        ("{name: sum, of: [chexpert, {nme: x}]}", "unknown key arms.dpo_label.judge.of[1].nme", "did you mean"),
        ("{name: panel, of: chexpert}", "of names one judge, and panel combines several", "give a list"),
        ("{name: lc, of: {name: panel, of: [a, b]}}", "of names a panel", "name the judges of the panel"),
        ("{name: panel, of: [a, b], budget: {share: 0.5, first: c}}", "budget is for a panel", "give the judges"),
        ("{name: lc, of: 3}", "arms.dpo_label.judge.of is 3", "write for example"),
        ("{name: green, budget: {share: 2, first: chexpert}}", "budget.share is 2", "`share: 0.5`"),
        ("{name: green, budget: {share: 0.5}}", "budget.first is missing", "`first: chexpert`"),
        (
            "{name: green, budget: {share: 0.5, first: {name: bertscore, options: {batch_size: 3}}}}",
            "gives judge bertscore two sets of options",
            "give one a label",
        ),
    ],
)
def test_a_wrapper_or_budget_that_cannot_be_is_told_at_its_place(tmp_path, judge, what, fix):
    error = problem(writer(tmp_path)("dpo_label: {judge: chexpert,", f"dpo_label: {{judge: {judge},"))
    assert what in error.what
    assert fix in error.fix
