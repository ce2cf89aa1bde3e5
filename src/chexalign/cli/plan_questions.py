"""What the questions of a recipe would come to, listed from their collections before anything is spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.data.questions import QuestionItem
    from chexalign.recipe import CollectionSpec, Recipe


def question_counts(recipe: Recipe) -> dict[str, Counter[str]]:
    """Questions of each split by collection; no image is opened.

    Raises: UserError for a collection that cannot be read, or has no question of a split that the recipe needs.
    """
    from chexalign.workflow.stages import question_items, question_source

    found = {}
    for collection in recipe.questions.collections if recipe.questions else ():
        items, _ = question_items(question_source(collection), collection)
        found[collection.source] = _counted(recipe, collection, items)
    return found


def question_rows(recipe: Recipe, counts: dict[str, Counter[str]]) -> Iterator[tuple[str, int, str, str]]:
    """Stage, rows, unit and how they come about: the tables of questions, then the answers of all policies."""
    spec = recipe.questions
    if spec is None:
        return
    policies = 1 + len(recipe.learners())
    for collection in spec.collections:
        splits = counts[collection.source]
        listed = ", ".join(f"{name} {n}" for name, n in sorted(splits.items()))
        learned = f"; SFT learns from up to {collection.sft}" if collection.sft else ""
        yield f"questions/{collection.source}", splits.total(), "questions", f"at most: {listed}{learned}"
    for collection in spec.collections:
        if collection.evaluate:
            n = min(counts[collection.source][spec.split], collection.limit or counts[collection.source].total())
            how = f"at most: {n} of {spec.split} x up to {spec.orders} orders x {policies} policies"
            how += ", with confidence" if spec.confidence else ""
            rows = n * spec.orders * policies * len(spec.scoring)
            yield f"answers/{collection.source}", rows, "answers", how


def _counted(recipe: Recipe, collection: CollectionSpec, items: list[QuestionItem]) -> Counter[str]:
    counts = Counter[str]()
    for item in items:
        counts[item.split] += len(item.drafts)
    spec = recipe.questions
    assert spec is not None
    needed = [spec.split] * collection.evaluate + ["train"] * bool(collection.sft)
    for split in needed:
        if not counts[split]:
            raise UserError(
                f"questions: the collection {collection.source} has no question of the split {split}.",
                f"It has: {', '.join(f'{name} {n}' for name, n in sorted(counts.items()) if n) or 'none at all'}.",
                "Set questions.split to another split, or the collection's evaluate to false and its sft to 0.",
            )
    return counts
