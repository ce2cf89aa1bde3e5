"""A judge called the way TRL's GRPOTrainer calls a reward function."""

import inspect

import pytest

from chexalign.errors import UserError
from chexalign.judges import as_reward
from chexalign.judges.base import Judgement
from chexalign.judges.lexical import RougeLJudge


class Counting:
    """Scores the number of words, and nothing without a word; remembers what it was asked."""

    name, version = "counting", "1"

    def __init__(self):
        self.asked = []

    def score(self, pairs):
        self.asked.append(list(pairs))
        counts = [len(p.candidate.split()) for p in pairs]
        return [Judgement(float(n)) if n else Judgement(None, status="error", reason="no words") for n in counts]


def call(reward, completions, references, **more):
    """With the arguments that TRL 1.16 gives: all by name, with every column of the dataset beside."""
    return reward(
        prompts=["?"] * len(completions),
        completions=completions,
        completion_ids=[[1]] * len(completions),
        reference=references,
        trainer_state=None,
        **more,
    )


def test_one_reward_per_completion_and_none_where_there_is_no_score():
    judge = Counting()
    assert call(as_reward(judge), ["Clear lungs.", "", "Clear lungs.", "Clear"], ["a"] * 4) == [2.0, None, 2.0, 1.0]
    assert len(judge.asked[0]) == 3, "equal pairs are judged once"


def test_chat_messages_and_blocks_are_texts_too():
    said = [{"role": "assistant", "content": "Clear lungs."}]
    blocks = [{"role": "assistant", "content": [{"type": "text", "text": "Clear lungs."}, {"type": "image"}]}]
    reward = as_reward(RougeLJudge())
    assert call(reward, [said, blocks, []], ["Clear lungs."] * 3) == [1.0, 1.0, 0.0]


def test_its_name_and_signature_are_what_trainers_look_at():
    reward = as_reward(Counting())
    assert reward.__name__ == "counting"
    kinds = {name: p.kind for name, p in inspect.signature(reward).parameters.items()}
    assert list(kinds) == ["prompts", "completions", "columns"]
    assert kinds["columns"] is inspect.Parameter.VAR_KEYWORD
    assert not inspect.iscoroutinefunction(reward)


def test_another_column_may_hold_the_reference():
    assert as_reward(RougeLJudge(), reference="findings")(["?"], ["Clear."], findings=["Clear."]) == [1.0]


@pytest.mark.parametrize("columns", [{}, {"reference": ["Secret effusion."]}, {"findings": ["a", "b"]}])
def test_a_missing_reference_is_told_without_text(columns):
    with pytest.raises(UserError, match="for 2 completions") as error:
        as_reward(RougeLJudge())(["?", "?"], ["x", "y"], **columns)
    assert "Secret" not in str(error.value)
