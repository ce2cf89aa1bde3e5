"""Log-probs of candidates under the reference policy, computed once and shared by all arms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chexalign.policy.asks import ask_of
from chexalign.run_folder import SFT, RunFolder
from chexalign.stage import PartResult
from chexalign.store import Table
from chexalign.train.examples import Target, encode
from chexalign.train.pack import pack
from chexalign.train.prefix import shared_logps
from chexalign.train.vision import choose_vision, tower_of

_BATCH = 16
Request = tuple[str, str]  # ids of a prompt and of a candidate, which may answer another prompt


@dataclass(frozen=True, slots=True)
class RefLogp:
    """The log-prob of a candidate as an answer to a prompt under the reference policy, in nats, end token included."""

    prompt_id: str
    candidate_id: str
    sum_logp: float
    n_tokens: int


def ref_table(run: RunFolder) -> Table[RefLogp]:
    """The run's table of reference log-probs."""
    return Table(run.ref_logps, RefLogp)


@dataclass(slots=True)
class RefLogpsWorker:
    """Scores a fixed slice of requests per part under the SFT policy; a prompt is run once for all its completions."""

    run: RunFolder
    requests: Sequence[Request]  # sorted
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
        requests = self.requests[index * self.part_size : (index + 1) * self.part_size]
        of_prompt: dict[str, list[str]] = defaultdict(list)
        for prompt_id, candidate_id in requests:
            of_prompt[prompt_id].append(candidate_id)
        examples = encode(self._policy, self._targets(of_prompt))
        vision = choose_vision(self._policy.model, self._policy.processor, [e.images for e in examples])
        values: dict[Request, tuple[float, int]] = {}
        # Rows of a batch share the number of completions.
        examples.sort(key=lambda e: (len(e.completions), e.n_tokens, e.id))
        with tower_of(vision, self._policy.model):
            start = 0
            while start < len(examples):
                width = len(examples[start].completions)
                batch = [e for e in examples[start : start + _BATCH] if len(e.completions) == width]
                start += len(batch)
                inputs = vision.inputs([e.images for e in batch])
                packed = pack(batch, pad_id=self._policy.tokenizer.pad_token_id)
                logps = shared_logps(self._policy.model, packed, inputs)
                for e, sums, counts in zip(batch, logps.sums().tolist(), logps.counts().tolist(), strict=True):
                    keys = [(e.id, candidate_id) for candidate_id in of_prompt[e.id]]
                    values.update(zip(keys, zip(sums, counts, strict=True), strict=True))
        return PartResult([RefLogp(*request, *values[request]) for request in requests])

    def _targets(self, of_prompt: dict[str, list[str]]) -> list[Target]:
        studies = {s.id: s for s in self.run.studies.iter_rows()}
        texts = {c.id: c.text for c in self.run.candidates.iter_rows()}
        targets = []
        for prompt in self.run.prompts.iter_rows():
            if prompt.id in of_prompt:
                ask = ask_of(studies[prompt.study_id], prompt.text, root=self.run.root, max_images=self.max_images)
                targets.append(Target(prompt.id, ask, tuple(texts[i] for i in of_prompt[prompt.id])))
        return targets
