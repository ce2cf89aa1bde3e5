"""What the questions of a recipe would come to, listed from their collections before anything is spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.data.questions import QuestionItem
    from chexalign.recipe import CollectionSpec, Recipe


@dataclass(frozen=True, slots=True)
class Listed:
    """What a collection holds, as far as that is known before an image is opened."""

    splits: Counter[str]  # questions of each
    usable: int  # training questions with an image, and with no more than the policy is given
    explained: int  # of these, with a rationale
    founded: int  # of these, with evidence
    license: str

    def learned(self, collection: CollectionSpec) -> int:
        """The most questions that SFT learns from; those of patients who are held out are among them."""
        return min(collection.sft, self.usable)


def list_questions(recipe: Recipe) -> dict[str, Listed]:
    """What each collection of the recipe holds; no image is opened.

    Raises: UserError for a collection that cannot be read, or has no question of a split that the recipe needs.
    """
    from chexalign.workflow.stages import question_items, question_source

    found = {}
    for collection in recipe.questions.collections if recipe.questions else ():
        source = question_source(collection)
        items, _ = question_items(source, collection)
        found[collection.source] = _listed(recipe, collection, items, source.license)
    return found


def question_rows(recipe: Recipe, listed: Mapping[str, Listed]) -> Iterator[tuple[str, int, str, str]]:
    """Stage, rows, unit and how they come about: the table of each collection."""
    for collection in recipe.questions.collections if recipe.questions else ():
        splits = listed[collection.source].splits
        told = ", ".join(f"{name} {n}" for name, n in sorted(splits.items()))
        learned = f"; SFT learns from up to {collection.sft}" if collection.sft else ""
        yield f"questions/{collection.source}", splits.total(), "questions", f"at most: {told}{learned}"


def answer_rows(recipe: Recipe, listed: Mapping[str, Listed]) -> Iterator[tuple[str, int, str, str]]:
    """Stage, rows, unit and how they come about: the answers of all policies to each collection."""
    spec = recipe.questions
    if spec is None:
        return
    policies = 1 + len(recipe.learners())
    for collection in spec.collections:
        if collection.evaluate:
            splits = listed[collection.source].splits
            n = min(splits[spec.split], collection.limit or splits.total())
            how = f"at most: {n} of {spec.split} x up to {spec.orders} orders x {policies} policies"
            how += ", with confidence" if spec.confidence else ""
            rows = n * spec.orders * policies * len(spec.scoring)
            yield f"answers/{collection.source}", rows, "answers", how


def _listed(recipe: Recipe, collection: CollectionSpec, items: list[QuestionItem], license: str) -> Listed:
    counts, most = Counter[str](), recipe.policy.max_images
    for item in items:
        counts[item.split] += len(item.drafts)
    _check_splits(recipe, collection, counts)
    usable = [d for item in items if item.split == "train" and 0 < len(item.pictures) <= most for d in item.drafts]
    return Listed(
        counts,
        len(usable),
        sum(draft.rationale is not None for draft in usable),
        sum(bool(draft.evidence or draft.boxes) for draft in usable),
        license,
    )


def _check_splits(recipe: Recipe, collection: CollectionSpec, counts: Counter[str]) -> None:
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
