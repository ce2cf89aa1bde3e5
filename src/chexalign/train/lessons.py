"""What an arm learns from: pairs of texts, verdicts on single ones, or right answers alone, as rows of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chexalign.errors import UserError
from chexalign.losses.base import Loss
from chexalign.losses.make import make_loss
from chexalign.pairs.verdicts import verdict_table
from chexalign.recipe.mine import SFT_AGAIN
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from chexalign.train.examples import Target
from chexalign.train.objective import Objective, Pairs, Supervised, Verdicts
from chexalign.train.pack import Example
from chexalign.train.pair_rows import completions_of, pair_rows, pair_targets
from chexalign.train.ref_logps import ref_table
from chexalign.train.rows import Row
from chexalign.train.targets import candidate_targets
from chexalign.train.verdicts import verdict_completions, verdict_rows, verdict_targets
from chexalign.types import Pair, Verdict


class Lessons(Protocol):
    """Pairs or verdicts, read once."""

    @property
    def objective(self) -> Objective:
        """How the loss reads the rows."""
        ...

    def prompts(self) -> dict[str, str]:
        """The prompt of each row, by the row's id."""
        ...

    def used(self) -> set[tuple[str, str]]:
        """The (prompt id, candidate id) of every candidate that is read, those of other prompts for KTO's z too."""
        ...

    def targets(self, *, max_images: int) -> list[Target]:
        """The ask and the texts of each row."""
        ...

    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """The rows, with log-probs under the reference policy where the loss needs them."""
        ...


@dataclass(frozen=True)
class PairLessons:
    """Pairs of an arm."""

    run: RunFolder
    pairs: list[Pair]
    loss: Loss
    seed: int

    @property
    def objective(self) -> Objective:
        """Pairs."""
        return Pairs(self.loss)

    def prompts(self) -> dict[str, str]:
        """By the pair's id."""
        return {pair.id: pair.prompt_id for pair in self.pairs}

    def used(self) -> set[tuple[str, str]]:
        """Both candidates of each pair, and a mismatched one where the loss needs it."""
        found = completions_of(self.pairs, mismatch_seed=self._mismatch_seed)
        return {(pair.prompt_id, i) for pair, ids in zip(self.pairs, found, strict=True) for i in ids}

    def targets(self, *, max_images: int) -> list[Target]:
        """Raises: UserError when both texts of a pair are equal."""
        return pair_targets(self.run, self.pairs, max_images=max_images, mismatch_seed=self._mismatch_seed)

    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """Rows of two or three completions."""
        return pair_rows(self.run, self.pairs, examples, self.loss, seed=self.seed)

    @property
    def _mismatch_seed(self) -> int | None:
        return self.seed if self.loss.needs_kl else None


@dataclass(frozen=True)
class VerdictLessons:
    """Verdicts of an arm, which KTO learns from."""

    run: RunFolder
    verdicts: list[Verdict]
    loss: Loss
    seed: int

    @property
    def objective(self) -> Objective:
        """Verdicts."""
        return Verdicts(self.loss)

    def prompts(self) -> dict[str, str]:
        """By the candidate's id."""
        return {verdict.candidate_id: verdict.prompt_id for verdict in self.verdicts}

    def used(self) -> set[tuple[str, str]]:
        """Each candidate, and one that answers another prompt.

        Raises: UserError when all verdicts are on one prompt.
        """
        found = verdict_completions(self.verdicts, seed=self.seed)
        return {(v.prompt_id, i) for v, ids in zip(self.verdicts, found, strict=True) for i in ids}

    def targets(self, *, max_images: int) -> list[Target]:
        """A candidate and a mismatched one each."""
        return verdict_targets(self.run, self.verdicts, max_images=max_images, seed=self.seed)

    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """Rows of two completions, with desirability and weight."""
        refs = {(r.prompt_id, r.candidate_id): r.sum_logp for r in ref_table(self.run).iter_rows()}
        return verdict_rows(self.verdicts, examples, refs, seed=self.seed)


@dataclass(frozen=True)
class ChosenLessons:
    """The chosen texts of an arm's pairs, learned as in SFT."""

    run: RunFolder
    pairs: list[Pair]

    @property
    def objective(self) -> Objective:
        """Supervised."""
        return Supervised()

    def prompts(self) -> dict[str, str]:
        """By the pair's id."""
        return {pair.id: pair.prompt_id for pair in self.pairs}

    def used(self) -> set[tuple[str, str]]:
        """None: there is no reference policy."""
        return set()

    def targets(self, *, max_images: int) -> list[Target]:
        """The chosen text of each pair."""
        wanted = [(pair.id, pair.prompt_id, [pair.chosen_id]) for pair in self.pairs]
        return candidate_targets(self.run, wanted, max_images=max_images)

    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """Rows of one completion."""
        return [Row(example) for example in examples]


def lessons_of(run: RunFolder, arm: str, train: Any, *, verdicts: bool, seed: int) -> Lessons:
    """What the finished table of an arm holds, verdicts/ARM or pairs/ARM; `train` is the recipe's block.

    Raises: UserError when no question of a mined set has a wrong answer.
    """
    if train.algorithm == SFT_AGAIN:
        return ChosenLessons(run, _pairs(run, arm))
    loss = make_loss(train)
    if verdicts:
        return VerdictLessons(run, verdict_table(run, arm).rows(), loss, seed)
    return PairLessons(run, _pairs(run, arm), loss, seed)


def _pairs(run: RunFolder, arm: str) -> list[Pair]:
    pairs, made = run.pairs(arm).rows(), Manifest.load(run.pairs(arm).folder)
    tried = Manifest.load(run.counterfactuals.folder)
    if pairs or tried is None or made is None or made.stage != "mined_pairs":
        return pairs
    reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(tried.dropped.items()))
    raise UserError(
        f"The arm {arm} has no pair to learn from: no question of its set has a wrong answer.",
        f"The verifier let none pass, or nothing was proposed; the questions of all sets, by reason: {reasons}.",
        "docs/mining.md says what the reasons mean; raise mine.counterfactual.max_length_ratio or max_drop, or let an "
        "llm propose (mine.counterfactual.generator).",
    )
