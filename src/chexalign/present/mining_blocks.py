"""The mined questions as the page holds them: an index to filter by, and a block per question and per image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from chexalign.present.blocks import block, image_data, marked_sentences
from chexalign.present.mining_data import Mining, ShownItem, ShownQuestion
from chexalign.types import Counterfactual

_DECIMALS = 4


def mined_index(mining: Mining) -> Markup:
    """JSON with a row per item of a set, and columns of what is told about each question, for a script block."""
    types, sets = mining.groups, [made.select for made in mining.sets]
    return block(
        {
            "sets": sets,
            "types": types,
            "items": [
                [sets.index(item.select), types.index(item.group), *_item(mining, item)] for item in mining.items
            ],
            "ids": [shown.question.id for shown in mining.questions],
            "texts": [shown.question.text for shown in mining.questions],
            "told": [_told(shown)[1:] if shown.told else [None, None] for shown in mining.questions],
        }
    )


def question_blocks(mining: Mining) -> Iterator[Markup]:
    """JSON of each question: its answers, what the policy said, and the wrong answer marked against the right one."""
    for shown in mining.questions:
        question = shown.question
        chosen = shown.wrong.chosen if shown.wrong else shown.right
        yield block(
            {
                "kind": question.kind,
                "task": question.task,
                "type": question.answer_type,
                "text": question.text,
                "options": question.options,
                "answers": question.answers,
                "evidence": [[e.text, e.present] for e in question.evidence if e.kind != "study"],
                "images": shown.images,
                "told": _told(shown) if shown.told else None,
                "right": chosen,
                "wrong": _wrong(shown.wrong) if shown.wrong else None,
            }
        )


def image_blocks(mining: Mining) -> Iterator[Markup]:
    """JSON of each image."""
    return (block(image_data(image)) for image in mining.images)


def _item(mining: Mining, item: ShownItem) -> list[Any]:
    wrong = mining.questions[item.question].wrong
    way = [wrong.origin, wrong.kind] if wrong else [None, None]
    return [item.question, item.seed, item.rank, item.why, *way]


def _told(shown: ShownQuestion) -> list[Any]:
    told = shown.told
    assert told is not None
    sure = None if told.confidence is None else round(told.confidence, _DECIMALS)
    return [told.text, told.right, sure]


def _wrong(wrong: Counterfactual) -> dict[str, Any]:
    sentences = marked_sentences(wrong.chosen, wrong.rejected)
    return {"origin": wrong.origin, "kind": wrong.kind, "sentences": sentences}
