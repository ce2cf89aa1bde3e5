"""Candidates as columns: what pair rules need of them, without the texts, in the order that settles ties."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chexalign.errors import UserError
from chexalign.types import Candidate, Score

if TYPE_CHECKING:
    import pyarrow as pa

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate as a rule sees it: its score and size, not its text."""

    candidate_id: str
    draw: int
    value: float | None  # None: the judge could not score it
    n_words: int


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """All candidates of a run, one row each, sorted by prompt, draw and id; `[n]` each unless noted.

    Words are runs of characters between white space, of the text as sampled. `text` is a digest of the words, equal
    where texts are equal apart from white space. Memory is about 100 bytes a candidate.
    """

    ids: pa.Array
    prompt_ids: pa.Array  # [prompts], sorted
    starts: Ints  # [prompts + 1]: the rows of prompt p are starts[p] to starts[p + 1]
    draws: Ints
    n_words: Ints
    n_tokens: Ints
    text: Ints
    given: pa.Array  # the ids in the order in which they were given
    order: Ints  # the row of `given` that stands here

    @property
    def prompt(self) -> Ints:
        """The number of each row's prompt."""
        return np.repeat(np.arange(len(self.prompt_ids)), np.diff(self.starts))

    def values(self, judge: str, ids: pa.Array, values: Floats) -> Floats:
        """The value of each row, given those of candidates by id; NaN where the judge could not score.

        Values of candidates that are not here are not looked at.
        Raises UserError when a candidate has none, or has two.
        """
        import pyarrow.compute as pc

        if ids.equals(self.given):  # as the judge stage writes them
            return values[self.order]
        at = pc.fill_null(pc.index_in(ids, value_set=self.ids), -1).to_numpy(zero_copy_only=False)
        here = at >= 0
        times = np.bincount(at[here], minlength=len(self.ids))
        if (twice := np.flatnonzero(times > 1)).size:
            raise UserError(
                f"pairs: candidate {self.ids[twice[0]]} has two scores by {judge}",
                "it is not known which of them is meant",
                "Delete that judge's scores and score the candidates once",
            )
        if (missing := np.flatnonzero(times == 0)).size:
            raise UserError(
                f"pairs: {missing.size} of {len(times)} candidates have no score by {judge}, "
                f"first {min(self.ids[i].as_py() for i in missing)}",
                "a prompt's best and worst candidate are not known before all are scored",
                "Finish the judge stage, or name the judge (name@version) that scored these candidates",
            )
        found = np.empty(len(times))
        found[at[here]] = values[here]
        return found

    def prompts(self, values: Floats) -> Iterator[tuple[str, list[Scored]]]:
        """Each prompt with its candidates as rules see them."""
        ids, draws, words = self.ids.to_pylist(), self.draws.tolist(), self.n_words.tolist()
        known = [None if v != v else v for v in values.tolist()]
        rows = [Scored(*row) for row in zip(ids, draws, known, words, strict=True)]
        starts = self.starts.tolist()
        for prompt_id, start, end in zip(self.prompt_ids.to_pylist(), starts, starts[1:], strict=False):
            yield prompt_id, rows[start:end]


def columns_of(candidates: Iterable[Candidate]) -> Columns:
    """The columns of records; of two candidates with one id the later counts."""
    rows = list({c.id: c for c in candidates}.values())
    part: dict[str, Sequence[Any]] = {name: [getattr(c, name) for c in rows] for name in FIELDS}
    return columns_from([part])


FIELDS = ("id", "prompt_id", "draw", "n_tokens", "text")


def columns_from(parts: Iterable[dict[str, Sequence[Any]]]) -> Columns:
    """The columns of parts, each a sequence by the name of every field; a part's texts are let go before the next."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids, prompts, sizes = [], [], []
    for part in parts:
        ids.append(pa.array(part["id"], pa.string()))
        prompts.append(pa.array(part["prompt_id"], pa.string()))
        texts = np.array([_words(text) for text in part["text"]], dtype=np.int64).reshape(-1, 2)
        numbers = np.array([part["draw"], part["n_tokens"]], dtype=np.int64)
        sizes.append(np.concatenate([numbers.T, texts], axis=1))
    given = pa.concat_arrays(ids) if ids else pa.array([], pa.string())
    prompt = pa.concat_arrays(prompts) if prompts else given
    numbers = np.concatenate(sizes) if sizes else np.empty((0, 4), dtype=np.int64)
    table = pa.table({"prompt": prompt, "draw": numbers[:, 0], "id": given})
    order = pc.sort_indices(table, [(name, "ascending") for name in ("prompt", "draw", "id")]).to_numpy()
    order = order.astype(np.int64)
    draws, n_tokens, n_words, text = numbers[order].T
    prompt = prompt.take(pa.array(order))
    new = np.ones(len(order), dtype=bool)
    if len(order):
        new[1:] = pc.not_equal(prompt[1:], prompt[:-1]).to_numpy(zero_copy_only=False)
    firsts = np.flatnonzero(new)
    return Columns(
        ids=given.take(pa.array(order)),
        prompt_ids=prompt.take(pa.array(firsts)),
        starts=np.append(firsts, len(order)).astype(np.int64),
        draws=draws,
        n_words=n_words,
        n_tokens=n_tokens,
        text=text,
        given=given,
        order=order,
    )


def score_columns(scores: Iterable[Score], judge: str) -> tuple[pa.Array, Floats]:
    """The ids and values of one judge's scores; NaN stands for a value of None."""
    import pyarrow as pa

    rows = [(s.candidate_id, s.value) for s in scores if s.judge == judge]
    return pa.array([i for i, _ in rows], pa.string()), np.array([v for _, v in rows], dtype=np.float64)


def _words(text: str) -> tuple[int, int]:
    """The number of words, and a digest of them."""
    words = text.split()
    digest = hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return len(words), int.from_bytes(digest, "little", signed=True)
