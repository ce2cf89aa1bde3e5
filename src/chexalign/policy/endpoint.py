"""A policy that is served: completions from a server with the OpenAI chat-completions interface."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from chexalign.engines.endpoint import Client, usage_of
from chexalign.engines.endpoint_answer import Call, Choice
from chexalign.engines.endpoint_errors import TooLongError
from chexalign.errors import UserError
from chexalign.policy import endpoint_checks as checks
from chexalign.policy.base import Ask, AskError, Completion, Decoding
from chexalign.policy.data_url import data_url
from chexalign.recipe.engines import EndpointSpec

_PROBES = 3  # prompts whose draws are compared before a server is believed to sample
_MANY = 4096
_Key = tuple[Ask, tuple[int, ...], Decoding]


class _SameSeedError(Exception):
    """The draws of one request are all the same, since the server gives each of them the same seed."""


def endpoint_policy(spec: EndpointSpec) -> EndpointPolicy:
    """The policy behind a server; nothing is sent yet.

    Raises: UserError when the address, the key or the library is missing.
    """
    return EndpointPolicy(Client(spec))


@dataclass(frozen=True, slots=True)
class _Job:
    """One request that is under way or waits: all draws of one ask, or one of them."""

    index: int
    future: Future[list[Choice]]


class EndpointPolicy:
    """Asks a server for completions; `generate` may be called by several threads at the same time.

    A server is first asked for all draws of a prompt in one request. Where it answers with fewer, the rest is asked
    for one by one, each with a seed of its own. What the server ignores is found out on the way and stands in
    `sampler`. Completions have no `sum_logp` where the server tells none, or not the model's own.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._ignored: set[str] = set()
        self._lock = threading.Lock()
        self._findings: dict[tuple[Decoding, bool], Future[bool]] = {}
        self._kept: dict[_Key, list[Choice]] = {}
        self._taken: Counter[str] = Counter()

    def generate(
        self, asks: Sequence[Ask], *, decoding: Decoding, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        """For each ask one completion per seed, in order.

        Equal seeds give equal texts only where the server keeps seeds; none promises it across loads or versions.

        Raises: AskError for an image that cannot be read and a prompt beyond the context, once all other asks are
        answered; their answers are kept and not asked for again when they come back without it. UserError when the
        server fails for good, ignores `top_k`, or stays greedy although the temperature is not 0.
        """
        keys = [(ask, tuple(own), decoding) for ask, own in zip(asks, seeds, strict=True)]
        if not any(own for _, own, _ in keys):
            return [[] for _ in keys]
        try:
            found, failed, own_logps = self._answers(keys)
        except _SameSeedError:  # now each draw is asked for alone
            found, failed, own_logps = self._answers(keys)
        found |= {i: self._kept[key] for i, key in enumerate(keys) if key in self._kept}
        if failed:
            self._kept |= {keys[i]: found[i] for i in found.keys() - failed.keys()}
            raise failed[min(failed)]
        for key in keys:
            self._kept.pop(key, None)
        if decoding.temperature == 0:  # was asked for once
            found = {i: found[i] * len(own) for i, (_, own, _) in enumerate(keys)}
        return [[_completion(choice, own_logps, keys[i][2]) for choice in found[i]] for i in range(len(keys))]

    def batch_size(self, ask: Ask, *, decoding: Decoding, draws: int) -> int:
        """As many as there are: the server makes its own batches, and the client bounds what is under way."""
        return _MANY

    def sampler(self, decoding: Decoding) -> str:
        """The model's name at the server, how tokens are chosen, and what the server ignores of what it was sent."""
        top_k = "" if decoding.top_k is None else f" top_k={decoding.top_k}"
        ignored = ",".join(self.ignored)
        return f"endpoint {self.client.spec.model} T={decoding.temperature} top_p={decoding.top_p}{top_k}" + (
            f" ignored={ignored}" if ignored else ""
        )

    @property
    def ignored(self) -> list[str]:
        """What the server was seen to ignore or to refuse: `n`, `seed`, `logprobs`, `top_k`, `min_p`, ..."""
        return sorted({*self._ignored, *self.client.refused} - {"top_logprobs"})

    @property
    def usage(self) -> dict[str, Any]:
        """Requests, tokens and failures so far, and what they cost where the recipe gives prices."""
        return self.client.usage

    def take_usage(self) -> dict[str, Any]:
        """The usage since this was called last; over the parts of a table it adds up to the whole."""
        with self._lock:
            counts = self.client.counts()
            new, self._taken = counts - self._taken, counts
        return usage_of(new, self.client.spec)

    def close(self) -> None:
        """Ends what waits to be asked; for a run that is broken off."""
        self.client.close()

    def _answers(self, keys: Sequence[_Key]) -> tuple[dict[int, list[Choice]], dict[int, AskError], bool]:
        """The choices of each ask not answered yet, what became of the others, and whether log-probs are right."""
        jobs = self._submit(keys)
        try:
            own_logps = self._checked(keys, jobs)
            return *_collect(jobs), own_logps
        finally:
            for job in jobs:
                job.future.cancel()

    def _submit(self, keys: Sequence[_Key]) -> list[_Job]:
        """Requests for every ask that is not answered yet, draws in order."""
        jobs = []
        for index, key in enumerate(keys):
            ask, own, decoding = key
            if key in self._kept or not own:
                continue
            alone = decoding.temperature == 0 or "n" in self.ignored
            groups = [own[:1]] if decoding.temperature == 0 else [(seed,) for seed in own] if alone else [own]
            jobs += [_Job(index, self.client.submit(self._draw, ask, index, decoding, group)) for group in groups]
        return jobs

    def _draw(self, ask: Ask, index: int, decoding: Decoding, seeds: tuple[int, ...]) -> list[Choice]:
        """One choice per seed; runs in a thread of the client."""
        try:
            messages = _messages(ask)
        except UserError as e:
            raise AskError(e, index=index, reason="image_unreadable") from e
        call = Call(
            messages,
            max_tokens=decoding.max_new_tokens,
            n=len(seeds),
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            top_k=decoding.top_k,
            seed=seeds[0],
            logprobs=True,
        )
        try:
            found = list(self.client.ask(call).choices)
            while len(found) < len(seeds):
                self._ignored.add("n")
                found += self.client.ask(replace(call, n=1, seed=seeds[len(found)])).choices
        except TooLongError as e:
            raise AskError(e, index=index, reason="prompt_too_long") from e
        return found

    def _checked(self, keys: Sequence[_Key], jobs: Sequence[_Job]) -> bool:
        """Whether log-probs are the model's own; the first caller finds it out with all else, the others wait."""
        decoding, several = keys[0][2], any(len(own) > 1 for _, own, _ in keys)
        with self._lock:
            mine = (decoding, several) not in self._findings
            finding = self._findings.setdefault((decoding, several), Future())
        if not mine:
            return finding.result()
        try:
            own_logps, settled = self._check(keys, jobs)
        except BaseException as e:
            finding.set_exception(e)
            if isinstance(e, _SameSeedError):
                with self._lock:
                    del self._findings[decoding, several]
            raise
        finding.set_result(own_logps)
        if not settled:
            with self._lock:
                del self._findings[decoding, several]
        return own_logps

    def _check(self, keys: Sequence[_Key], jobs: Sequence[_Job]) -> tuple[bool, bool]:
        """Whether log-probs are the model's own, and whether the answers were enough to tell all that is asked.

        Raises: UserError when the server stays greedy or ignores top-k.
        """
        probes = list(dict.fromkeys(job.index for job in jobs))[:_PROBES]
        found, failed = _collect([job for job in jobs if job.index in probes])
        probes = [i for i in probes if i not in failed]
        if not probes:
            return False, False
        decoding, client = keys[0][2], self.client
        asked = [(_messages(keys[i][0]), keys[i][1][0]) for i in probes]
        settled = True
        if decoding.temperature > 0:
            if all(len({c.text for c in found[i]}) == 1 < len(found[i]) for i in probes):
                verdicts = [checks.stays_greedy(client, messages, seed=seed) for messages, seed in asked]
                if all(verdicts):
                    raise _greedy(client.spec)
                if "n" not in self.ignored and checks.repeats_one_seed(client, asked[0][0], seed=asked[0][1]):
                    self._ignored.add("n")
                    raise _SameSeedError
                settled = False in verdicts
            if decoding.top_k is not None and checks.keeps_all_tokens(client, asked[0][0], seed=asked[0][1]):
                raise _no_top_k(client.spec, decoding.top_k)
            if checks.forgets_seeds(client, asked[0][0], decoding, seed=asked[0][1]):
                self._ignored.add("seed")
        told = any(c.sum_logp is not None for i in probes for c in found[i])
        own_logps = told and not checks.cuts_logprobs(client, asked[0][0], decoding)
        if not own_logps:
            self._ignored.add("logprobs")
        return own_logps, settled


def _collect(jobs: Sequence[_Job]) -> tuple[dict[int, list[Choice]], dict[int, AskError]]:
    """The choices of each ask, and the asks that cannot be answered; waits for the jobs."""
    found: defaultdict[int, list[Choice]] = defaultdict(list)
    failed: dict[int, AskError] = {}
    for job in jobs:
        try:
            found[job.index] += job.future.result()
        except AskError as e:
            failed[job.index] = e
    return dict(found), failed


def _messages(ask: Ask) -> list[dict[str, Any]]:
    """A user's turn with images before the prompt, as the in-process engine renders it."""
    if not ask.images:
        return [{"role": "user", "content": ask.prompt}]
    images = [{"type": "image_url", "image_url": {"url": data_url(path)}} for path in ask.images]
    return [{"role": "user", "content": [*images, {"type": "text", "text": ask.prompt}]}]


def _completion(choice: Choice, own_logps: bool, decoding: Decoding) -> Completion:
    text = choice.text.strip()
    if not own_logps or choice.sum_logp is None:
        return Completion(text, choice.n_tokens, None, choice.finish)
    if not decoding.token_logps:
        return Completion(text, choice.n_tokens, choice.sum_logp, choice.finish)
    return Completion(text, choice.n_tokens, choice.sum_logp, choice.finish, choice.token_logps, choice.token_texts)


def _greedy(spec: EndpointSpec) -> UserError:
    return UserError(
        f"The server at {spec.url} stays greedy: all draws of a prompt are the same text, even at temperature 2.",
        "Candidates that are equal make no pairs; `transformers serve` samples only where the model's own"
        " generation_config.json says do_sample.",
        'Set "do_sample": true there and start the server anew, or turn sampling on in the server\'s own options.',
    )


def _no_top_k(spec: EndpointSpec, top_k: int) -> UserError:
    return UserError(
        f"The server at {spec.url} ignores top_k, and sample.top_k is {top_k}.",
        "Other tokens would be drawn than the recipe allows.",
        "Leave out sample.top_k, or set it in the server's own way through sample.endpoint.extra_body.",
    )
