"""The stage that writes a policy's greedy report for every study of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chexalign.policy.asks import ask_of
from chexalign.policy.base import Decoding
from chexalign.policy.source import PolicySource
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.types import Prediction, Study


@dataclass(slots=True)
class PredictionsWorker:
    """Greedy reports for a slice of studies; with `shuffled`, each study gets the images of another one.

    The study that lends its images is half the split away, so none keeps its own; the prompt stays the study's own.
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
    _policy: Any = None
    _studies: Sequence[Study] = ()

    def setup(self) -> None:
        """Opens the policy and reads the studies."""
        self._policy = self.source.open()
        self._studies = [s for s in self.run.studies.iter_rows() if s.split == self.split]

    def part(self, index: int) -> PartResult[Prediction]:
        """The predictions of one slice."""
        n = len(self._studies)
        shift = n // 2 if self.shuffled else 0
        slice_ = range(index * self.part_size, min(n, (index + 1) * self.part_size))
        asks = [
            ask_of(
                self._studies[(i + shift) % n],
                self.template.fill(self._studies[i]).text,
                root=self.run.root,
                max_images=self.max_images,
            )
            for i in slice_
        ]
        groups = self._policy.generate(asks, decoding=self.decoding, seeds=[[0]] * len(asks))
        return PartResult(
            [
                Prediction(self._studies[i].id, self.name, c.text, c.n_tokens, c.finish)
                for i, (c,) in zip(slice_, groups, strict=True)
            ]
        )
