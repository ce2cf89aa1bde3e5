"""From mined questions and their wrong answers to the preference pairs of an arm."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from chexalign.mine.pair_audit import mined_audit
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.types import Counterfactual, Pair

JUDGE = "answers@1"  # what orders the texts of a pair: one of them is right


@dataclass(slots=True)
class MinedPairsWorker:
    """The pairs of one set as a table of one part, with their audit.

    A question without a wrong answer is left out and counted.
    """

    run: RunFolder
    collection: str
    select: str

    def setup(self) -> None:
        """Nothing."""

    def part(self, index: int) -> PartResult[Pair]:
        """A pair for each question of the set, in the set's order."""
        known = {row.question_id: row for row in self.run.counterfactuals.iter_rows()}
        wanted = [item.question_id for item in self.run.mined(self.select).iter_rows()]
        rows = [known[i] for i in wanted if i in known]
        used = {row.question_id for row in rows}
        questions = {q.id: q for q in self.run.questions(self.collection).iter_rows() if q.id in used}
        dropped = {"no_wrong_answer": len(wanted) - len(rows)} if len(rows) < len(wanted) else {}
        audit = mined_audit(rows, questions, dropped)
        return PartResult([pair_of(row, self.select) for row in rows], dropped, extra={"audit": asdict(audit)})


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
