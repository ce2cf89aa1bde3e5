"""What an arm learns from: pairs of candidates, or verdicts on single ones, as rows of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chexalign.losses.base import Loss
from chexalign.pairs.verdicts import verdict_table
from chexalign.run_folder import RunFolder
from chexalign.train.examples import Target
from chexalign.train.objective import Objective, Pairs, Verdicts
from chexalign.train.pack import Example
from chexalign.train.pair_rows import completions_of, pair_rows, pair_targets
from chexalign.train.ref_logps import ref_table
from chexalign.train.rows import Row
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


def lessons_of(run: RunFolder, arm: str, loss: Loss, *, verdicts: bool, seed: int) -> Lessons:
    """What the finished table of an arm holds: verdicts/ARM or pairs/ARM."""
    if verdicts:
        return VerdictLessons(run, verdict_table(run, arm).rows(), loss, seed)
    return PairLessons(run, run.pairs(arm).rows(), loss, seed)
