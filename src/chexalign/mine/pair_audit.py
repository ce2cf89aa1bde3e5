"""What the pairs of a mined set teach besides which answer is right: lengths, whose wrong answers, which edits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chexalign.pairs.audit import Summary, fraction, summarize
from chexalign.types import Counterfactual, Question


@dataclass(frozen=True, slots=True)
class Words:
    """Length of the right answers, or of the wrong ones."""

    words: Summary


@dataclass(frozen=True, slots=True)
class MinedAudit:
    """The numbers of a `PairAudit` that pairs of answers have, which no judge scores, and whose the wrong ones are.

    A prompt is a question of the set; fractions are of the pairs.
    """

    n_prompts: int
    n_pairs: int
    dropped: dict[str, int]  # questions without a pair, by reason
    chosen: Words
    rejected: Words
    delta_words: Summary  # chosen minus rejected
    chosen_longer_words: float | None
    equal_words: float | None
    words_excess: float | None  # mean words of chosen over mean words of rejected, minus 1
    origins: dict[str, int]  # pairs by whose wrong answer it is: the policy's own, rules, llm
    edits: dict[str, int]  # pairs by what the wrong answer changes
    kinds: dict[str, int]  # pairs by kind of question
    n_patients: int
    most_pairs_of_a_patient: int | None


def mined_audit(
    rows: Sequence[Counterfactual], questions: Mapping[str, Question], dropped: Mapping[str, int]
) -> MinedAudit:
    """The audit of pairs with these wrong answers, whose questions are given by id; words are split at white space."""
    chosen, rejected = (
        np.array([len(text.split()) for text in texts], dtype=np.int64)
        for texts in ([row.chosen for row in rows], [row.rejected for row in rows])
    )
    left, right = summarize(chosen), summarize(rejected)
    of_patient = Counter(questions[row.question_id].patient_id for row in rows)
    return MinedAudit(
        n_prompts=len(rows) + sum(dropped.values()),
        n_pairs=len(rows),
        dropped=dict(sorted(dropped.items())),
        chosen=Words(left),
        rejected=Words(right),
        delta_words=summarize(chosen - rejected),
        chosen_longer_words=fraction(chosen > rejected),
        equal_words=fraction(chosen == rejected),
        words_excess=left.mean / right.mean - 1 if left.mean and right.mean else None,
        origins=_counts(row.origin for row in rows),
        edits=_counts(row.kind for row in rows),
        kinds=_counts(questions[row.question_id].kind for row in rows),
        n_patients=len(of_patient),
        most_pairs_of_a_patient=max(of_patient.values(), default=None),
    )


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
