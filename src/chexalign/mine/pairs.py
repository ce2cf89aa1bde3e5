"""From mined questions and their wrong answers to the preference pairs of an arm."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.types import Counterfactual, Pair

JUDGE = "answers@1"  # what orders the texts of a pair: one of them is right


@dataclass(slots=True)
class MinedPairsWorker:
    """The pairs of one set as a table of one part; a question without a wrong answer is left out and counted."""

    run: RunFolder
    select: str

    def setup(self) -> None:
        """Nothing."""

    def part(self, index: int) -> PartResult[Pair]:
        """A pair for each question of the set, in the set's order."""
        known = {row.question_id: row for row in self.run.counterfactuals.iter_rows()}
        rows, dropped = [], Counter[str]()
        for item in self.run.mined(self.select).iter_rows():
            if (row := known.get(item.question_id)) is None:
                dropped["no_wrong_answer"] += 1
            else:
                rows.append(pair_of(row, self.select))
        return PartResult(rows, dict(dropped))


def pair_of(row: Counterfactual, select: str) -> Pair:
    """The pair of a question, whose id is the id of its prompt; its margin is that of right over wrong."""
    return Pair(
        id=row.question_id,
        prompt_id=row.question_id,
        chosen_id=row.chosen_id,
        rejected_id=row.rejected_id,
        margin=1.0,
        delta_words=len(row.chosen.split()) - len(row.rejected.split()),
        judge=JUDGE,
        rule=f"{select}.{row.origin}.{row.kind}",
    )
