"""The stage that writes a policy's report for every study of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chexalign.ids import keyed_seed
from chexalign.policy.asks import ask_of
from chexalign.policy.base import Ask, Decoding
from chexalign.policy.batching import Batches
from chexalign.policy.source import PolicySource
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.types import Prediction, Study


@dataclass(slots=True)
class PredictionsWorker:
    """One report for each of a slice of studies; with `shuffled`, each study gets the images of another one.

    The study that lends its images is half the split away, so none keeps its own; the prompt keeps its indication.
    Where reports are drawn, random numbers are keyed by (seed, study), so all policies of a run meet the same ones.
    """

    run: RunFolder
    name: str  # of the predictions
    source: PolicySource
    split: str
    template: Any
    decoding: Decoding
    part_size: int
    max_images: int
    shuffled: bool = False
    seed: int = 0  # of the draws; greedy reports have none
    _policy: Any = None
    _studies: Sequence[Study] = ()
    _size: int | None = None  # what memory had room for

    def setup(self) -> None:
        """Opens the policy and reads the studies."""
        self._policy = self.source.open()
        self._studies = [s for s in self.run.studies.iter_rows() if s.split == self.split]

    def part(self, index: int) -> PartResult[Prediction]:
        """The predictions of one slice."""
        n = len(self._studies)
        shift = n // 2 if self.shuffled else 0
        slice_ = range(index * self.part_size, min(n, (index + 1) * self.part_size))
        asks = [self._ask(self._studies[i], self._studies[(i + shift) % n]) for i in slice_]
        batches = Batches(self._policy, self._size or self.part_size, strict=True)
        seeds = [[keyed_seed(self.seed, "prediction", self._studies[i].id)] for i in slice_]
        groups = batches.generate(asks, decoding=self.decoding, seeds=seeds)
        self._size = batches.size
        rows = [
            Prediction(self._studies[i].id, self.name, c.text, c.n_tokens, c.finish)
            for i, group in zip(slice_, groups, strict=True)
            for c in group or ()
        ]
        return PartResult(rows)

    def _ask(self, study: Study, lender: Study) -> Ask:
        """The study's prompt, with the images of another study and in words for these."""
        text = self.template.fill(replace(study, images=lender.images)).text
        return ask_of(lender, text, root=self.run.root, max_images=self.max_images)
