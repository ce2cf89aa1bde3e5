"""The pairs of a mined set with their texts and images, in the formats that other trainers read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chexalign.data.answers import ask_text
from chexalign.pairs.export import write_export
from chexalign.pairs.export_card import ANSWERS
from chexalign.pairs.export_formats import Format, Row
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest, Table
from chexalign.types import Pair


def export_mined(
    run: RunFolder, collection: str, table: Table[Pair], to: Path, *, format: Format, max_images: int
) -> Manifest:
    """The manifest of a folder that holds the pairs of a finished table, as `chexalign.pairs.export.export` writes it.

    The prompt of a row is what the policy is asked, its options included.
    Raises: UserError as that does.
    """
    rows = _rows(run, collection, table)
    return write_export(
        rows, table, to, format=format, max_images=max_images, normalizer=run.normalizer, subject=ANSWERS
    )


def _rows(run: RunFolder, collection: str, table: Table[Pair]) -> Iterator[Row]:
    pairs = table.rows()
    used = {pair.prompt_id for pair in pairs}
    questions = {q.id: q for q in run.questions(collection).iter_rows() if q.id in used}
    answers = {row.question_id: row for row in run.counterfactuals.iter_rows() if row.question_id in used}
    for pair in pairs:
        question, row = questions[pair.prompt_id], answers[pair.prompt_id]
        images = tuple(str(run.image_path(image).absolute()) for image in question.images)
        about = {
            "kind": question.kind,
            "task": question.task,
            "answers": list(question.answers),
            "rejected_answers": list(row.rejected_answers),
            "edit": row.kind,
            "origin": row.origin,
        }
        written, whose = (row.chosen, row.rejected), (question.study_id, question.patient_id, question.license)
        yield Row(*whose, ask_text(question), images, written, pair, about)
