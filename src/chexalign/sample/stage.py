"""The stages that write prompts and candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from chexalign.ids import digest, keyed_seed
from chexalign.policy.asks import ask_of
from chexalign.policy.base import Completion, Decoding, Served
from chexalign.policy.batching import Batches
from chexalign.policy.source import PolicySource
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.types import Candidate, Prompt, Study

_STUDIES = "study_parts"  # of a part of prompts: the first part of studies that it is about, and the one after the last


def studies_per_part(run: RunFolder, n_parts: int, split: str) -> list[int]:
    """How many studies of the split each part of the studies table holds."""
    return [run.studies.column(i, "split").count(split) for i in range(n_parts)]


@dataclass(slots=True)
class PromptsWorker:
    """One prompt per study of the split that has an image; part i is about the split's i-th slice of studies."""

    run: RunFolder
    split: str
    template: Any  # data.templates.Template; passed in, since sampling does not choose it
    part_size: int
    counts: Sequence[int]  # see `studies_per_part`

    @property
    def n_parts(self) -> int:
        """How many parts the studies fill."""
        return -(-sum(self.counts) // self.part_size)

    def setup(self) -> None:
        """Nothing to load."""

    def part(self, index: int) -> PartResult[Prompt]:
        """The prompts of one slice, sorted as the studies are; memory holds a few parts of studies."""
        start, end = index * self.part_size, min((index + 1) * self.part_size, sum(self.counts))
        ends = list(accumulate(self.counts))
        first = next(i for i, n in enumerate(ends) if n > start)
        last = next(i for i, n in enumerate(ends) if n >= end)
        skipped = start - (ends[first] - self.counts[first])
        studies = [s for i in range(first, last + 1) for s in self.run.studies.part_rows(i) if s.split == self.split]
        mine = studies[skipped : skipped + end - start]
        rows = [self.template.fill(s) for s in mine if s.images]
        dropped = {"no_image": len(mine) - len(rows)} if len(rows) < len(mine) else {}
        return PartResult(rows, dropped, extra={_STUDIES: [first, last + 1]})


@dataclass(slots=True)
class CandidatesWorker:
    """Draws n candidates for the prompts of a part; random numbers are keyed by (seed, prompt, draw)."""

    run: RunFolder
    source: PolicySource
    decoding: Decoding
    n: int
    batch_size: int | None  # None: as many prompts as fit into memory
    max_images: int
    seed: int
    _policy: Any = None
    _size: int | None = None  # what is left of batch_size after memory ran out

    def setup(self) -> None:
        """Opens the policy."""
        self._policy, self._size = self.source.open(), self.batch_size

    def close(self) -> None:
        """Asks a server nothing more."""
        if isinstance(self._policy, Served):
            self._policy.close()

    def part(self, index: int) -> PartResult[Candidate]:
        """The candidates of one part of prompts, prompts in order, draws in order.

        A prompt whose image is damaged, or that is too long for the model, is left out and counted.
        """
        prompts = self.run.prompts.part_rows(index)
        studies = self._studies(index, {p.study_id for p in prompts})
        asks = [ask_of(studies[p.study_id], p.text, root=self.run.root, max_images=self.max_images) for p in prompts]
        seeds = [[keyed_seed(self.seed, p.id, draw) for draw in range(self.n)] for p in prompts]
        batches = Batches(self._policy, self._size)
        groups = batches.generate(asks, decoding=self.decoding, seeds=seeds)
        self._size = batches.size
        rows = [row for p, group in zip(prompts, groups, strict=True) for row in self._rows(p, group or [])]
        extra: dict[str, Any] = {"tokens": sum(row.n_tokens for row in rows), "batch_size": batches.size}
        if isinstance(self._policy, Served):
            extra["usage"] = self._policy.take_usage()
        return PartResult(rows, dict(batches.dropped), extra)

    def _studies(self, index: int, wanted: set[str]) -> dict[str, Study]:
        """The studies that a part of prompts is about."""
        first, end = self.run.prompts.info(index).extra[_STUDIES]
        found = (s for i in range(first, end) for s in self.run.studies.part_rows(i))
        return {s.id: s for s in found if s.id in wanted}

    def _rows(self, prompt: Prompt, group: Sequence[Completion]) -> list[Candidate]:
        return [
            Candidate(
                id=digest("candidate", prompt.id, draw, c.text),
                prompt_id=prompt.id,
                text=c.text,
                n_tokens=c.n_tokens,
                sum_logp=c.sum_logp,
                finish=c.finish,
                draw=draw,
                sampler=self._policy.sampler(self.decoding),
            )
            for draw, c in enumerate(group)
        ]
