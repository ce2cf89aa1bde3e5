"""The stages that write prompts and candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chexalign.ids import digest, keyed_seed
from chexalign.policy.asks import ask_of
from chexalign.policy.base import Decoding
from chexalign.run_folder import SFT, RunFolder
from chexalign.spread import PartResult
from chexalign.types import Candidate, Prompt, Study


@dataclass(slots=True)
class PromptsWorker:
    """One prompt per study of the split, all in one part."""

    run: RunFolder
    split: str
    template: Any  # data.templates.Template; passed in, since sampling does not choose it

    def setup(self) -> None:
        """Nothing to load."""

    def part(self, index: int) -> PartResult[Prompt]:
        """The prompts, sorted by study."""
        studies = [s for s in self.run.studies.iter_rows() if s.split == self.split]
        return PartResult([self.template.fill(s) for s in studies])


@dataclass(slots=True)
class CandidatesWorker:
    """Draws n candidates for the prompts of a slice; random numbers are keyed by (seed, prompt, draw)."""

    run: RunFolder
    decoding: Decoding
    n: int
    batch_size: int
    part_size: int
    max_images: int
    seed: int
    _policy: Any = None
    _prompts: Sequence[Prompt] = ()
    _studies: dict[str, Study] | None = None

    def setup(self) -> None:
        """Loads the SFT policy and the tables of prompts and studies."""
        from chexalign.policy.hf import HFPolicy

        self._policy = HFPolicy(self.run.policy(SFT))
        self._prompts = self.run.prompts.rows()
        self._studies = {s.id: s for s in self.run.studies.iter_rows()}

    def part(self, index: int) -> PartResult[Candidate]:
        """The candidates of one slice of prompts, prompts in order, draws in order."""
        prompts = self._prompts[index * self.part_size : (index + 1) * self.part_size]
        rows = [
            candidate
            for start in range(0, len(prompts), self.batch_size)
            for candidate in self._draw(prompts[start : start + self.batch_size])
        ]
        return PartResult(rows, extra={"tokens": sum(r.n_tokens for r in rows)})

    def _draw(self, prompts: Sequence[Prompt]) -> list[Candidate]:
        """The candidates of prompts that are generated together."""
        assert self._studies is not None
        asks = [
            ask_of(self._studies[p.study_id], p.text, root=self.run.root, max_images=self.max_images) for p in prompts
        ]
        seeds = [[keyed_seed(self.seed, p.id, draw) for draw in range(self.n)] for p in prompts]
        groups = self._policy.generate(asks, decoding=self.decoding, seeds=seeds)
        sampler = f"local T={self.decoding.temperature} top_p={self.decoding.top_p} batch={len(prompts) * self.n}"
        return [
            Candidate(
                id=digest("candidate", p.id, draw, c.text),
                prompt_id=p.id,
                text=c.text,
                n_tokens=c.n_tokens,
                sum_logp=c.sum_logp,
                finish=c.finish,
                draw=draw,
                sampler=sampler,
            )
            for p, group in zip(prompts, groups, strict=True)
            for draw, c in enumerate(group)
        ]
