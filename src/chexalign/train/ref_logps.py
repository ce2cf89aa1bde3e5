"""Log-probs of candidates under the reference policy, computed once and shared by all arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chexalign.policy.asks import ask_of
from chexalign.run_folder import SFT, RunFolder
from chexalign.stage import PartResult
from chexalign.store import Table
from chexalign.train.batch import collate
from chexalign.train.examples import Target, encode
from chexalign.train.features import tower_features
from chexalign.train.logps import sum_logps
from chexalign.types import Prompt, Study

_BATCH = 32


@dataclass(frozen=True, slots=True)
class RefLogp:
    """The log-prob of one candidate under the reference policy, in nats, end token included."""

    candidate_id: str
    sum_logp: float
    n_tokens: int


def ref_table(run: RunFolder) -> Table[RefLogp]:
    """The run's table of reference log-probs."""
    return Table(run.ref_logps, RefLogp)


def targets_of(run: RunFolder, candidate_ids: Sequence[str], *, max_images: int) -> list[Target]:
    """The ask and the text of each candidate."""
    studies: dict[str, Study] = {s.id: s for s in run.studies.iter_rows()}
    prompts: dict[str, Prompt] = {p.id: p for p in run.prompts.iter_rows()}
    wanted = set(candidate_ids)
    found = {}
    for candidate in run.candidates.iter_rows():
        if candidate.id in wanted:
            prompt = prompts[candidate.prompt_id]
            ask = ask_of(studies[prompt.study_id], prompt.text, root=run.root, max_images=max_images)
            found[candidate.id] = Target(ask, candidate.text)
    return [found[i] for i in candidate_ids]


@dataclass(slots=True)
class RefLogpsWorker:
    """Scores a fixed slice of candidates per part under the SFT policy."""

    run: RunFolder
    candidate_ids: Sequence[str]
    max_images: int
    part_size: int
    _policy: Any = None

    def setup(self) -> None:
        """Loads the reference policy."""
        from chexalign.policy.hf import HFPolicy

        self._policy = HFPolicy(self.run.policy(SFT))

    @torch.no_grad()
    def part(self, index: int) -> PartResult[RefLogp]:
        """The log-probs of one slice."""
        ids = self.candidate_ids[index * self.part_size : (index + 1) * self.part_size]
        examples = encode(self._policy, targets_of(self.run, ids, max_images=self.max_images))
        keys = {key for e in examples for key in e.images}
        model, processor = self._policy.model, self._policy.processor
        features = tower_features(model, processor, keys)
        pad = self._policy.tokenizer.pad_token_id
        values: list[float] = []
        for start in range(0, len(examples), _BATCH):
            batch = collate(examples[start : start + _BATCH], pad_id=pad)
            values += sum_logps(model, batch, features).tolist()
        return PartResult([RefLogp(i, v, len(e.completion_ids)) for i, v, e in zip(ids, values, examples, strict=True)])
