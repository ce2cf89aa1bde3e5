"""Log-probs of candidates under the reference policy, computed once and shared by all arms, runs and sweeps."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chexalign import ids
from chexalign.policy.hf import HFPolicy
from chexalign.policy.remote import register_remote
from chexalign.run_folder import SFT, RunFolder
from chexalign.spread import PartResult
from chexalign.store import Manifest, Table
from chexalign.train.examples import Target, encode
from chexalign.train.ref_cache import RefCache, value_keys
from chexalign.train.ref_scorer import RefScorer, Work, missing, ref_identity
from chexalign.train.settings import Precision
from chexalign.train.targets import candidate_targets

Request = tuple[str, tuple[str, ...]]  # ids of a prompt and of candidates, which may answer other prompts


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


def ref_cache_folder(run: RunFolder) -> Path:
    """Where the reference log-probs of all runs beside this one are kept."""
    return run.root.parent / ".cache" / "ref_logps"


def requests_of(wanted: Iterable[tuple[str, str]]) -> list[Request]:
    """The (prompt id, candidate id) pairs by prompt, everything sorted and once."""
    of_prompt: dict[str, set[str]] = defaultdict(set)
    for prompt_id, candidate_id in wanted:
        of_prompt[prompt_id].add(candidate_id)
    return [(prompt_id, tuple(sorted(candidates))) for prompt_id, candidates in sorted(of_prompt.items())]


@dataclass(slots=True)
class RefLogpsWorker:
    """Scores the requests of a fixed slice of prompts per part under the SFT policy.

    Only values that the cache does not have are computed. A value is that of the batch it was first computed in: in
    another one it might differ in the last bits. With LoRA the reference is the base model, which is the SFT checkpoint
    itself: an adapter adds nothing before its first step.
    """

    run: RunFolder
    requests: Sequence[Request]  # see `requests_of`
    max_images: int
    weights: str  # content digest of the SFT policy's files, from its manifest
    precision: Precision = "fp32"  # what the policy is trained in
    part_size: int = 100  # prompts
    trust_remote_code: bool = False
    _policy: Any = None
    _scorer: Any = None
    _cache: Any = None
    _targets: Sequence[Target] = ()  # of the requests, in their order

    @property
    def n_parts(self) -> int:
        """Parts that all requests make."""
        return -(-len(self.requests) // self.part_size)

    def setup(self) -> None:
        """Loads the reference policy, onto the GPU where there is one, opens its cache and reads what is asked for.

        Raises: UserError when the cache's folder belongs to another policy.
        """
        if self.trust_remote_code:
            register_remote(self.run.policy(SFT))
        self._policy = HFPolicy(self.run.policy(SFT))
        self._scorer = RefScorer(self._policy, self.precision)
        model = self._policy.model.to("cuda" if torch.cuda.is_available() else "cpu")
        identity = ref_identity(model, weights=self.weights, precision=self.precision)
        self._cache = RefCache(ref_cache_folder(self.run), identity)
        wanted = [(prompt_id, prompt_id, candidates) for prompt_id, candidates in self.requests]
        self._targets = candidate_targets(self.run, wanted, max_images=self.max_images)

    def part(self, index: int) -> PartResult[RefLogp]:
        """The log-probs of one slice.

        Raises: UserError when a text is empty or a log-prob is not a finite number.
        """
        slice_ = slice(index * self.part_size, (index + 1) * self.part_size)
        requests, targets = dict(self.requests[slice_]), self._targets[slice_]
        sha256s = {path: ids.file_sha256(path) for target in targets for path in target.ask.images}
        work: list[Work] = []
        for target, example in zip(targets, encode(self._policy, targets), strict=True):
            images = [sha256s[path] for path in target.ask.images]  # of the bytes now there, whatever the table says
            work.append((example, value_keys(example.prompt_ids, images, example.completions)))
        found = self._cache.get(key for _, keys in work for key in keys)
        computed = self._scorer.score(missing(work, found))
        self._cache.put(computed)
        values = found | {row.key: row for row in computed}
        rows = [
            RefLogp(example.id, candidate_id, values[key].sum_logp, values[key].n_tokens)
            for example, keys in work
            for candidate_id, key in zip(requests[example.id], keys, strict=True)
        ]
        extra = {"from_cache": len(found), "computed": len(computed), "damaged": dict(self._cache.damaged)}
        return PartResult(rows, extra=extra)


def with_sources(table: Table[RefLogp], manifest: Manifest) -> Manifest:
    """The manifest, saved with where its values came from: `from_cache` and `computed`, each distinct value once.

    `damaged_rows` counts the rows of cache files that had to be ignored.
    """
    if "from_cache" in manifest.extra:
        return manifest
    infos = [table.part_info(i, fingerprint=manifest.fingerprint) for i in range(manifest.parts)]
    extras = [info.extra for info in infos if info is not None]
    damaged = {name: rows for extra in extras for name, rows in extra["damaged"].items()}
    sources = {name: sum(extra[name] for extra in extras) for name in ("from_cache", "computed")}
    extra = manifest.extra | sources | {"damaged_rows": sum(damaged.values())}
    manifest = dataclasses.replace(manifest, extra=extra)
    manifest.save(table.folder)
    return manifest
