"""The mined sets: which questions of a gallery are learned from, by each way of selecting them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chexalign.errors import UserError
from chexalign.evaluate.confidence import rank_failures
from chexalign.ids import keyed_seed
from chexalign.mine.expand import Mined, candidates, count_types, take
from chexalign.mine.gallery import Answers, Gallery
from chexalign.mine.quotas import Quotas, budget_of, quotas
from chexalign.mine.search.retrieve import Neighbors, search
from chexalign.mine.vectors.feature_stage import FeatureJob, modalities
from chexalign.mine.vectors.features import FeatureSet
from chexalign.recipe.mine import Select
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.types import MinedItem


@dataclass(frozen=True)
class Selection:
    """Makes sets from answers and features; `spec` is the recipe's MineSpec."""

    answers: Answers
    features: FeatureSet
    spec: Any
    seed: int

    @property
    def gallery(self) -> Gallery:
        """The questions that sets are made of."""
        return self.answers.gallery

    @property
    def budget(self) -> int:
        """How many questions a set has."""
        return budget_of(len(self.gallery.questions), share=self.spec.share)

    def ranked_failures(self) -> list[int]:
        """Rows of the questions that the policy fails, the first to learn from first."""
        ranking = rank_failures(
            self.answers.found, self.spec.failures, aggregate=self.answers.aggregate, span=self.answers.span
        )
        return [self.answers.rows[place] for place in ranking.order]

    def seeds(self) -> list[int]:
        """Rows of the failures that are expanded: the first of each type, up to its share of the seeds.

        Raises: UserError when the policy fails none.
        """
        ranked = self.ranked_failures()
        if not ranked:
            raise UserError(
                "The policy fails no question that it was asked, or is sure of none that it fails.",
                "Mining starts from failures.",
                "Ask more questions (mine.ask), or see whether the answers of the policy can be read.",
            )
        shares = self._quotas(ranked, min(self.spec.seeds, len(ranked)))
        kept = take([Mined(row, i, 0, 0.0) for i, row in enumerate(ranked)], self.gallery.types, shares.given)
        return [item.row for item in kept]

    def neighbors(self, seeds: Sequence[int], likeness: Any) -> Neighbors:
        """What is like each seed, none of it of a patient who is evaluated."""
        return search(
            self.features.take(seeds),
            self.features,
            likeness,
            k=self.spec.k,
            evaluated=self.gallery.evaluated,
            own=self.spec.own,
            index=self.spec.index,
        )

    def make(self, select: Select) -> tuple[list[MinedItem], dict[str, Any]]:
        """A set, and an account of its quotas."""
        ways: dict[Select, Callable[[], tuple[list[MinedItem], dict[str, Any]]]] = {
            "mined": lambda: self._expanded(self.seeds()),
            "similarity": lambda: self._expanded(self._draw(len(self.seeds()), self.answers.rows, "seeds")),
            "confidence": self._confident,
            "random": self._random,
        }
        return ways[select]()

    def _expanded(self, seeds: Sequence[int]) -> tuple[list[MinedItem], dict[str, Any]]:
        found = candidates(seeds, self.neighbors(seeds, self.spec.likeness), order=self.spec.order)
        return self._taken(found, seeds)

    def _confident(self) -> tuple[list[MinedItem], dict[str, Any]]:
        ranked = self.ranked_failures()
        return self._taken([Mined(row, i, 0, 0.0) for i, row in enumerate(ranked)], ranked)

    def _random(self) -> tuple[list[MinedItem], dict[str, Any]]:
        rows = self._draw(self.budget, range(len(self.gallery.questions)), "set")
        account = {"given": self.gallery.count(rows), "yes_no": self.gallery.count_right(rows)}
        return [self._item(row, None, 0, None) for row in rows], account

    def _taken(self, found: Sequence[Mined], seeds: Sequence[int]) -> tuple[list[MinedItem], dict[str, Any]]:
        shares = self._quotas([item.row for item in found], self.budget)
        kept = take(found, self.gallery.types, shares.given)
        rows = [self._item(m.row, seeds[m.seed], m.rank, m.distance if m.rank else None) for m in kept]
        right = self.gallery.count_right([m.row for m in kept])
        return rows, {**asdict(shares), "available": count_types(found, self.gallery.types), "yes_no": right}

    def _quotas(self, rows: Sequence[int], budget: int) -> Quotas:
        failed = [row for row, value in enumerate(self.answers.failed) if value]
        return quotas(
            self.spec.quota,
            budget,
            available=self.gallery.count(rows),
            failed=self.gallery.count(failed),
            data=self.gallery.count(),
        )

    def _draw(self, n: int, rows: Sequence[int], what: str) -> list[int]:
        return random.Random(keyed_seed(self.seed, "mine", what)).sample(list(rows), min(n, len(rows)))

    def _item(self, row: int, seed: int | None, rank: int, distance: float | None) -> MinedItem:
        questions, failed = self.gallery.questions, self.answers.failed[row]
        return MinedItem(
            questions[row].id,
            self.gallery.types[row],
            None if seed is None else questions[seed].id,
            rank,
            distance,
            self.answers.confidences.get(row),
            None if failed is None else not failed,
        )


@dataclass(slots=True)
class SetWorker:
    """Makes one set as a table of one part, which is made in this process.

    `load` gives what all sets are made from; it is called only where a set is missing.
    """

    select: Select
    load: Callable[[], Selection]

    def setup(self) -> None:
        """Nothing."""

    def part(self, index: int) -> PartResult[MinedItem]:
        """The whole set."""
        rows, account = self.load().make(self.select)
        return PartResult(rows, extra={"quotas": account})


def load_selection(run: RunFolder, gallery: Gallery, spec: Any, *, seed: int) -> Selection:
    """What sets are made from, features made where they are missing; `spec` is the recipe's MineSpec."""
    answers = Answers.load(run, gallery, aggregate=spec.confidence.aggregate, span=spec.confidence.span)
    features = FeatureJob(run, gallery, spec.encoders, modalities([spec.likeness, *spec.purity])).features()
    return Selection(answers, features, spec, seed)
