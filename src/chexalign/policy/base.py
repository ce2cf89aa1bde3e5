"""What a policy is: something that writes reports for images and says how probable a given report is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from chexalign.errors import UserError
from chexalign.types import Finish

Precision = Literal["fp32", "bf16", "fp16"]  # of weights and keys when policies write


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a policy: the prompt's text and the files of its images, in order."""

    prompt: str
    images: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """What a policy wrote, end token counted in `n_tokens` and in `sum_logp` (nats, at temperature 1).

    `sum_logp` is None where the policy is a server that does not tell it. The last two are there where
    `Decoding.token_logps` asked for them and the policy tells them: the log-prob of each token, of which `sum_logp` is
    the sum, and the characters that each adds to the text (none for an end token); together these are the text, but
    for white space around it. A server may leave out the end token in both.
    """

    text: str
    n_tokens: int
    sum_logp: float | None
    finish: Finish
    token_logps: tuple[float, ...] | None = None
    token_texts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Decoding:
    """How completions are drawn; temperature 0 is greedy.

    `token_logps` asks for the log-probs of single tokens besides: it changes what is told and not what is drawn.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    token_logps: bool = False


class AskError(UserError):
    """One ask of several that cannot be answered; the others can. Raised by `Policy.generate`."""

    def __init__(self, error: UserError, *, index: int, reason: str) -> None:
        super().__init__(error.what, error.why, error.fix)
        self.index, self.reason = index, reason


@runtime_checkable
class Served(Protocol):
    """What a policy behind a server has besides: an account, and an end."""

    def take_usage(self) -> dict[str, Any]:
        """Requests, tokens and failures since this was called last."""
        ...

    def close(self) -> None:
        """Gives up what waits to be asked."""
        ...


@runtime_checkable
class Reads(Protocol):
    """What a policy in this process has besides: it tells how probable texts of others are."""

    def read(self, asks: Sequence[Ask], texts: Sequence[Sequence[str]]) -> list[list[Completion]]:
        """For each ask its texts as completions, with their log-probs."""
        ...


class Policy(Protocol):
    """Writes completions; the draws of one ask depend on its seeds, not on its neighbors in the batch."""

    def generate(
        self, asks: Sequence[Ask], *, decoding: Decoding, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        """For each ask one completion per seed.

        Equal seeds give equal uniform draws. Logits can still differ in the last bits between batch sizes, so a table
        that must come out the same again is made with the same batches.

        Raises: AskError for the first ask that cannot be answered, such as one whose image is damaged.
        """
        ...

    def batch_size(self, ask: Ask, *, decoding: Decoding, draws: int) -> int:
        """How many asks like this one, the longest of them, are best put together here and now."""
        ...

    def sampler(self, decoding: Decoding) -> str:
        """What drew the completions, for the record: the engine, and all that it was told."""
        ...
