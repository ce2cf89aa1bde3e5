"""All pairs of a run at once: candidates and scores as columns, a rule, and what is left out with the reason."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chexalign.ids import digest
from chexalign.pairs.columns import Columns, Floats, Ints, columns_of, score_columns
from chexalign.pairs.rules import Dropped, PairRule, Picked
from chexalign.types import Candidate, Pair, Score

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, eq=False)
class PairColumns:
    """Pairs ordered by prompt, one row each; `chosen` and `rejected` are rows of the candidates' `Columns`.

    `dropped` counts the prompts without a pair, by reason.
    """

    chosen: Ints
    rejected: Ints
    table: pa.Table  # a column per field of `Pair`
    dropped: dict[str, int]

    def records(self) -> list[Pair]:
        """The pairs as records."""
        return [Pair(*row) for row in zip(*(column.to_pylist() for column in self.table.columns), strict=True)]


def build_pairs(
    candidates: Iterable[Candidate], scores: Iterable[Score], *, rule: PairRule, judge: str
) -> tuple[list[Pair], dict[str, int]]:
    """The pairs of all prompts, ordered by prompt id, and how many prompts gave none, by reason.

    `judge` is name@version; scores by other judges, or of candidates not given, are not looked at. Pairs of equal
    texts (apart from white space) are dropped as `equal_texts`: no loss could tell them apart.
    Words are runs of characters between white space, of the text as sampled.
    Raises UserError when a candidate has no score by that judge, or has two.
    """
    columns = columns_of(candidates)
    built = build_columns(columns, columns.values(judge, *score_columns(scores, judge)), rule=rule, judge=judge)
    return built.records(), built.dropped


def build_columns(columns: Columns, values: Floats, *, rule: PairRule, judge: str) -> PairColumns:
    """The pairs of all prompts as columns, `values` being the judge's of each candidate; see `build_pairs`.

    A rule with a method `pick_all` is asked once for all prompts, any other once for each.
    """
    import pyarrow as pa

    pick_all = getattr(rule, "pick_all", None)
    if pick_all is None:
        return _each_prompt(columns, values, rule, judge)
    picked = _without_equal_texts(columns, pick_all(columns, values))
    chosen, rejected = picked.chosen, picked.rejected
    prompts = columns.prompt_ids.take(columns.prompt[chosen])
    ids = [prompts, columns.ids.take(chosen), columns.ids.take(rejected)]
    table = {
        "id": _pair_ids(*ids, judge=judge, rule=rule.name),
        "prompt_id": ids[0],
        "chosen_id": ids[1],
        "rejected_id": ids[2],
        "margin": values[chosen] - values[rejected],
        "delta_words": columns.n_words[chosen] - columns.n_words[rejected],
        "judge": pa.repeat(judge, len(chosen)),
        "rule": pa.repeat(rule.name, len(chosen)),
    }
    return PairColumns(chosen, rejected, pa.table(table), picked.dropped)


def _each_prompt(columns: Columns, values: Floats, rule: PairRule, judge: str) -> PairColumns:
    dropped: Counter[str] = Counter()
    pairs: list[Pair] = []
    for prompt_id, scored in columns.prompts(values):
        found = rule.pairs(prompt_id, scored, judge=judge)
        if isinstance(found, Dropped):
            dropped[found.reason] += 1
        else:
            pairs += found
    chosen, rejected = rows_of(columns, pairs)
    equal = columns.text[chosen] == columns.text[rejected]
    lost = _n_prompts(columns, chosen) - _n_prompts(columns, chosen[~equal])
    kept = [pair for pair, same in zip(pairs, equal, strict=True) if not same]
    if lost:
        dropped["equal_texts"] = lost
    return PairColumns(chosen[~equal], rejected[~equal], table_of(kept), dict(sorted(dropped.items())))


def rows_of(columns: Columns, pairs: Iterable[Pair]) -> tuple[Ints, Ints]:
    """The rows of the pairs' candidates.

    Raises KeyError for a pair whose candidate is not among them.
    """
    at = {candidate_id: row for row, candidate_id in enumerate(columns.ids.to_pylist())}
    rows = np.array([(at[pair.chosen_id], at[pair.rejected_id]) for pair in pairs], dtype=np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def table_of(pairs: list[Pair]) -> pa.Table:
    """A column per field of the pairs."""
    import pyarrow as pa

    names = list(Pair.__dataclass_fields__)
    types = {"margin": pa.float64(), "delta_words": pa.int64()}
    return pa.table({name: pa.array([getattr(p, name) for p in pairs], types.get(name, pa.string())) for name in names})


def _without_equal_texts(columns: Columns, picked: Picked) -> Picked:
    equal = columns.text[picked.chosen] == columns.text[picked.rejected]
    if not equal.any():
        return Picked(picked.chosen, picked.rejected, dict(sorted(picked.dropped.items())))
    chosen, rejected = picked.chosen[~equal], picked.rejected[~equal]
    lost = _n_prompts(columns, picked.chosen) - _n_prompts(columns, chosen)
    dropped = {**picked.dropped, **({"equal_texts": lost} if lost else {})}
    return Picked(chosen, rejected, dict(sorted(dropped.items())))


def _n_prompts(columns: Columns, rows: Ints) -> int:
    """How many prompts the rows are of, which are in the order of prompts."""
    return int(np.count_nonzero(np.diff(columns.prompt[rows], prepend=-1)))


def _pair_ids(prompts: pa.Array, chosen: pa.Array, rejected: pa.Array, *, judge: str, rule: str) -> pa.Array:
    """`digest("pair", prompt, chosen, rejected, judge, rule)` of each, without building the JSON of each."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _plain(pa.concat_arrays([prompts, chosen, rejected])):
        rows = zip(*(ids.to_pylist() for ids in (prompts, chosen, rejected)), strict=True)
        return pa.array([digest("pair", *row, judge, rule) for row in rows], pa.string())
    ends = '["pair", "', '", "', '", "', f'", {json.dumps([judge, rule], ensure_ascii=False)[1:]}'
    first, second, third, last = (pa.scalar(text) for text in ends)
    messages = pc.binary_join_element_wise(first, prompts, second, chosen, third, rejected, last, "")
    digests = b"".join([hashlib.sha256(m).digest() for m in messages.cast(pa.binary()).to_pylist()])
    halves = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)[:, :8].tobytes().hex().encode()  # 16 digits each
    offsets = np.arange(0, len(halves) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(prompts), pa.py_buffer(offsets), pa.py_buffer(halves))


def _plain(ids: pa.Array) -> bool:
    """Whether JSON writes every id as it is, between quotes."""
    buffer = ids.buffers()[2]
    text = np.frombuffer(buffer, dtype=np.uint8) if buffer is not None else np.empty(0, dtype=np.uint8)
    return not (text.size and (text.min() < ord(" ") or (text == ord('"')).any() or (text == ord("\\")).any()))
