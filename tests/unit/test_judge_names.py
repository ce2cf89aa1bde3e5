"""Judges of one name in one recipe: told apart by labels, or refused, since folders and metrics go by names."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from chexalign.errors import UserError
from chexalign.judges.base import TextPair
from chexalign.judges.lexical import RougeLJudge
from chexalign.judges.stage import about_judge, make_judge
from chexalign.judges.wrappers import SumJudge
from chexalign.recipe import JudgeSpec, Recipe, folder_name
from tests.recipes import plain

STRICT = {"name": "llm", "label": "strict", "options": {"prompt": "strict.txt"}}
KIND = {"name": "llm", "label": "kind", "options": {"prompt": "kind.txt"}}
CHILD = {"name": "child", "options": {"script": "a.py"}}
OTHER_CHILD = {"name": "child", "options": {"script": "b.py"}}


def unlabeled(judge: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in judge.items() if key != "label"}


def recipe(arms: list[Any], metrics: list[Any] | None = None) -> Recipe:
    raw = plain() | {"arms": {f"arm{i}": {"judge": judge} for i, judge in enumerate(arms)}}
    return Recipe.model_validate(raw | ({"evaluate": {"metrics": metrics}} if metrics else {}))


def refused(arms: list[Any], metrics: list[Any] | None = None) -> str:
    with pytest.raises(ValidationError) as caught:
        recipe(arms, metrics)
    (error,) = caught.value.errors()
    assert "label" in error["ctx"]["fix"]
    return f"{error['loc']} {error['msg']}"


def test_labels_tell_judges_of_one_name_apart_in_arms_and_metrics() -> None:
    found = recipe([STRICT, KIND], ["chexpert", STRICT, KIND])
    assert [folder_name(judge) for judge in found.measured()] == ["chexpert", "llm-strict", "llm-kind"]
    assert Recipe.model_validate(found.to_dict()) == found


@pytest.mark.parametrize("pair", [(STRICT, KIND), (CHILD, OTHER_CHILD)], ids=["llm", "child"])
def test_without_labels_two_judges_of_one_name_are_refused_wherever_they_meet(pair: Any) -> None:
    one, other = (unlabeled(judge) for judge in pair)
    name = one["name"]
    told = f"gives judge {name} two sets of options"
    assert told in refused([one, other])
    assert told in refused([one], [one, other])
    assert told in refused([one], ["chexpert", other]), "not measured by another judge than it was trained by"
    assert told in refused([{"name": "sum", "of": [one, other], "options": {"weights": [1, 1]}}])
    assert told in refused([{"name": "panel", "of": [one, other]}])
    assert told in refused([one, {"name": "green", "budget": {"share": 0.5, "first": other}}])


def test_one_label_is_enough_and_two_equal_ones_are_not() -> None:
    assert len(recipe([unlabeled(STRICT), KIND]).measured()) == 4 + 2
    assert "llm-strict two sets" in refused([STRICT, {**KIND, "label": "strict"}])
    with pytest.raises(ValidationError):
        recipe([{**STRICT, "label": "a/b"}])


def test_the_default_metrics_give_way_to_what_an_arm_says_of_a_judge() -> None:
    mine = {"name": "bertscore", "options": {"model": "distilbert"}}
    found = recipe([mine])
    assert found.evaluate.metrics[1].options == {"model": "distilbert"}
    assert Recipe.model_validate(found.to_dict()) == found
    assert "bertscore two sets" in refused([mine], ["bertscore"])


def test_a_budget_is_no_other_judge_where_predictions_are_scored() -> None:
    limited = {**STRICT, "budget": {"share": 0.5, "first": "chexpert"}}
    assert [judge.label for judge in recipe([limited], [STRICT]).measured()] == ["strict"]


def test_a_label_is_part_of_the_name_and_of_nothing_that_is_kept() -> None:
    pair = TextPair("Clear lungs.", "Clear lungs.")
    spec = JudgeSpec(name="rouge_l", label="words")
    judge = make_judge(spec)
    assert (judge.name, judge.version) == ("rouge_l-words", "1")
    assert judge.score([pair]) == RougeLJudge().score([pair])
    assert about_judge(spec).substance() == about_judge(JudgeSpec(name="rouge_l")).substance()
    of = [JudgeSpec(name="rouge_l"), spec, JudgeSpec(name="lc", of=spec)]
    both = make_judge(JudgeSpec(name="sum", of=of, options={"weights": [1, 2, 4]}))
    found = both.score([pair])[0]
    assert found.value == 7.0
    assert {"rouge_l", "rouge_l-words", "lc-rouge_l-words"} <= found.parts.keys()
    assert folder_name(JudgeSpec(name="sum", of=of, label="mix")) == "sum-mix"


def test_a_sum_of_two_judges_of_one_name_is_refused_outside_of_recipes_too() -> None:
    with pytest.raises(UserError, match="one name"):
        SumJudge(of=[RougeLJudge(), RougeLJudge()], weights=[1, 1])


def test_where_a_model_is_changes_no_result_and_which_model_does() -> None:
    served = {"url": "http://127.0.0.1:1/v1", "model": "m", "prompt": "p.txt"}

    def digest(**options: Any) -> str:
        judge = {"name": "llm", "options": {**served, **options}}
        return recipe(
            [{"name": "lc", "of": judge}, {"name": "green", "budget": {"share": 0.5, "first": judge}}]
        ).digest()

    assert digest() == digest(url="http://127.0.0.1:2/v1", concurrency=64, timeout_s=3.0)
    assert len({digest(), digest(model="n"), digest(prompt="q.txt"), digest(extra_body={"a": 1})}) == 4
    local = [recipe([{"name": "llm", "options": {"folder": f, "batch_size": n}}]) for f, n in (("a", 1), ("b", 2))]
    assert local[0].digest() == local[1].digest(), "the version has what is in the folder"
    assert recipe(["chexpert"]).substance()["arms"]["arm0"]["judge"] == "chexpert"
