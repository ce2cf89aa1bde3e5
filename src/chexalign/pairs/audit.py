"""What a set of pairs teaches besides the judge's opinion: scores, lengths, ties and losses on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chexalign.pairs.build import PairColumns, rows_of, table_of
from chexalign.pairs.columns import Columns, Floats, Ints, columns_of
from chexalign.types import Candidate, Pair, Score, Verdict


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean, median and sample standard deviation; None where there is too little to have one."""

    mean: float | None
    median: float | None
    sd: float | None


@dataclass(frozen=True, slots=True)
class Side:
    """Score and length of the chosen texts, or of the rejected ones."""

    score: Summary
    words: Summary
    tokens: Summary


@dataclass(frozen=True, slots=True)
class PairAudit:
    """Table 8 of the CheXalign paper for one set of pairs, in plain numbers; `dataclasses.asdict` makes it JSON.

    Fractions are of the pairs unless noted, and None without pairs. A tie is a prompt that was dropped because no two
    of its scores differ by more than the rule's margin.
    """

    n_prompts: int
    n_pairs: int
    dropped: dict[str, int]  # prompts without a pair, by reason
    ties: float | None  # fraction of the prompts
    chosen: Side
    rejected: Side
    margin: Summary
    delta_words: Summary  # chosen minus rejected
    chosen_longer_words: float | None
    chosen_longer_tokens: float | None
    equal_words: float | None
    words_excess: float | None  # mean words of chosen over mean words of rejected, minus 1
    unscored: float | None  # fraction of the candidates
    duplicates: float | None  # fraction of the candidates that have the words of an earlier draw of their prompt
    reused: float | None  # fraction of the texts in pairs that stand in several
    n_patients: int | None  # with a pair; None where it is not known who they are
    most_pairs_of_a_patient: int | None


def audit(
    pairs: Sequence[Pair],
    candidates: Iterable[Candidate],
    scores: Iterable[Score],
    *,
    dropped: Mapping[str, int] | None = None,
    patients: Mapping[str, str] | None = None,
) -> PairAudit:
    """The audit of `pairs`; `dropped` is what `build_pairs` said it left out, `patients` tells whose a prompt is.

    Scores are those of the pairs' own judge. Words are split at white space. Prompts are those of `candidates`.
    Raises KeyError for a pair whose candidate or score is not given.
    """
    columns = columns_of(candidates)
    chosen, rejected = rows_of(columns, pairs)
    judge = pairs[0].judge if pairs else None
    known = {s.candidate_id: s.value for s in scores if s.judge == judge}
    for pair in pairs:
        known[pair.chosen_id], known[pair.rejected_id]
    values = np.array([known.get(i) for i in columns.ids.to_pylist()], dtype=np.float64)
    built = PairColumns(chosen, rejected, table_of(list(pairs)), dict(dropped or {}))
    return audit_columns(columns, values, built, patients=patients)


def audit_columns(
    columns: Columns, values: Floats, built: PairColumns, *, patients: Mapping[str, str] | None = None
) -> PairAudit:
    """The audit of pairs that are columns; see `audit`."""
    chosen, rejected = built.chosen, built.rejected
    left, right = _side(columns, values, chosen), _side(columns, values, rejected)
    words, tokens = (n[chosen] - n[rejected] for n in (columns.n_words, columns.n_tokens))
    lost, n_prompts = dict(sorted(built.dropped.items())), len(columns.prompt_ids)
    uses = np.unique(np.concatenate([chosen, rejected]), return_counts=True)[1]
    of_patient = _pairs_by_patient(built, patients)
    return PairAudit(
        n_prompts=n_prompts,
        n_pairs=len(chosen),
        dropped=lost,
        ties=lost.get("tie", 0) / n_prompts if n_prompts else None,
        chosen=left,
        rejected=right,
        margin=summarize(built.table.column("margin").to_numpy()),
        delta_words=summarize(words),
        chosen_longer_words=fraction(words > 0),
        chosen_longer_tokens=fraction(tokens > 0),
        equal_words=fraction(words == 0),
        words_excess=left.words.mean / right.words.mean - 1 if left.words.mean and right.words.mean else None,
        unscored=fraction(np.isnan(values)),
        duplicates=fraction(_repeats(columns)),
        reused=fraction(uses > 1),
        n_patients=None if of_patient is None else len(of_patient),
        most_pairs_of_a_patient=int(of_patient.max()) if of_patient is not None and len(of_patient) else None,
    )


@dataclass(frozen=True, slots=True)
class VerdictAudit:
    """What a set of verdicts on single candidates teaches, in plain numbers; fractions are of the candidates."""

    n_prompts: int
    n_desirable: int
    n_undesirable: int
    dropped: dict[str, int]  # prompts without a verdict, by reason
    desirable: Side
    undesirable: Side
    unscored: float | None
    duplicates: float | None
    n_patients: int | None  # with a verdict; None where it is not known who they are


def audit_verdicts(
    columns: Columns,
    values: Floats,
    verdicts: Sequence[Verdict],
    *,
    dropped: Mapping[str, int],
    patients: Mapping[str, str] | None = None,
) -> VerdictAudit:
    """The audit of verdicts; see `audit`."""
    at = {candidate_id: row for row, candidate_id in enumerate(columns.ids.to_pylist())}
    good, bad = (
        np.array([at[v.candidate_id] for v in verdicts if v.desirable == side], dtype=np.int64)
        for side in (True, False)
    )
    return VerdictAudit(
        n_prompts=len(columns.prompt_ids),
        n_desirable=len(good),
        n_undesirable=len(bad),
        dropped=dict(sorted(dropped.items())),
        desirable=_side(columns, values, good),
        undesirable=_side(columns, values, bad),
        unscored=fraction(np.isnan(values)),
        duplicates=fraction(_repeats(columns)),
        n_patients=None if patients is None else len({patients[v.prompt_id] for v in verdicts}),
    )


def _side(columns: Columns, values: Floats, rows: Ints) -> Side:
    scores = values[rows]
    return Side(
        score=summarize(scores[~np.isnan(scores)]),
        words=summarize(columns.n_words[rows]),
        tokens=summarize(columns.n_tokens[rows]),
    )


def _repeats(columns: Columns) -> npt.NDArray[np.bool_]:
    """Which rows have the words of an earlier row of their prompt."""
    order = np.lexsort((np.arange(len(columns.text)), columns.text, columns.prompt))
    text, prompt = columns.text[order], columns.prompt[order]
    found = np.zeros(len(order), dtype=bool)
    found[order[1:]] = (text[1:] == text[:-1]) & (prompt[1:] == prompt[:-1])
    return found


def _pairs_by_patient(built: PairColumns, patients: Mapping[str, str] | None) -> Ints | None:
    if patients is None:
        return None
    whose = [patients[prompt_id] for prompt_id in built.table.column("prompt_id").to_pylist()]
    return np.unique(np.array(whose, dtype=str), return_counts=True)[1]


def summarize(values: npt.NDArray[np.float64 | np.int64]) -> Summary:
    """Mean, median and sample standard deviation of values."""
    if not len(values):
        return Summary(None, None, None)
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(float(np.mean(values)), float(np.median(values)), sd)


def fraction(flags: npt.NDArray[np.bool_]) -> float | None:
    """How much of the flags is set; None without flags."""
    return float(np.mean(flags)) if len(flags) else None
