"""A judge as a reward function, the way GRPO trainers call one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chexalign.errors import UserError
from chexalign.judges.base import Judge, TextPair

Reward = Callable[..., list[float | None]]


def as_reward(judge: Judge, *, reference: str = "reference") -> Reward:
    """A function `reward(prompts, completions, **columns) -> list[float | None]` that asks the judge, as TRL calls it.

    `reference` names the column of the dataset that holds the radiologist's text, one per completion. Completions are
    texts, or lists of chat messages, whose contents are joined. A completion that the judge cannot score has reward
    None, which TRL leaves out of its mean; it is never 0. Each distinct pair of texts of a batch is judged once.
    The function has the judge's name, under which trainers log it.
    Raises (when called): UserError when the column is missing or has another length.

    >>> from chexalign.judges.lexical import RougeLJudge
    >>> as_reward(RougeLJudge())(prompts=["?"], completions=["Clear lungs."], reference=["Clear lungs."])
    [1.0]
    """

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        references = columns.get(reference)
        if references is None or len(references) != len(completions):
            n = "no" if references is None else str(len(references))
            raise UserError(
                f"The reward {judge.name} was given {n} references for {len(completions)} completions.",
                f"It compares each completion with the radiologist's text, in the column {reference!r}.",
                "Keep that column in the dataset, or name another with as_reward(judge, reference=NAME).",
            )
        pairs = [TextPair(_text(c), str(r)) for c, r in zip(completions, references, strict=True)]
        distinct = list(dict.fromkeys(pairs))
        values = {pair: j.value for pair, j in zip(distinct, judge.score(distinct), strict=True)}
        return [values[pair] for pair in pairs]

    reward.__name__ = reward.__qualname__ = judge.name
    return reward


def _text(completion: Any) -> str:
    """The text of a completion, of its messages, or of the text blocks in them."""
    if isinstance(completion, str):
        return completion
    contents = [message["content"] for message in completion]
    blocks = [block for c in contents for block in ([{"type": "text", "text": c}] if isinstance(c, str) else c or ())]
    return "\n".join(block["text"] for block in blocks if block.get("type") == "text")
