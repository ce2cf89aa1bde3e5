"""Candidates and scores of a run read as columns, part by part, so that texts are never all in memory."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chexalign.errors import UserError
from chexalign.pairs.columns import FIELDS, Columns, Floats, columns_from
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest, Table

if TYPE_CHECKING:
    import pyarrow as pa


def read_candidates(run: RunFolder) -> Columns:
    """The candidates of a run as columns; those read last are kept for the next arm.

    Raises: UserError when the table is not finished.
    """
    return _read(run.root, _manifest(run.candidates).content)


@functools.lru_cache(maxsize=1)
def _read(root: Path, content: str) -> Columns:
    parts = _parts(RunFolder(root).candidates, FIELDS)
    return columns_from({name: part.column(name).to_pylist() for name in FIELDS} for part in parts)


def read_scores(run: RunFolder, judge: str) -> tuple[str, pa.Array, Floats]:
    """The name@version of the judge of that folder, and the candidates' ids and values; NaN where it could not score.

    The judge is that of the first row; scores by others are left out. Raises: UserError when the table is not finished.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = ("candidate_id", "judge", "value")
    empty = pa.schema([run.scores(judge).schema().field(name) for name in names]).empty_table()
    table = pa.concat_tables([empty, *_parts(run.scores(judge), names)], promote_options="default")
    if not table.num_rows:
        return "", table.column("candidate_id").combine_chunks(), np.empty(0)
    label = table.column("judge")[0].as_py()
    table = table.filter(pc.equal(table.column("judge"), label))
    values = pc.fill_null(table.column("value"), float("nan")).to_numpy().astype(np.float64)
    return label, table.column("candidate_id").combine_chunks(), values


def read_patients(run: RunFolder) -> dict[str, str] | None:
    """Whose study each prompt is about; None where the run folder does not hold its studies."""
    if Manifest.load(run.studies.folder) is None or Manifest.load(run.prompts.folder) is None:
        return None
    patient: dict[str, str] = {}
    for part in _parts(run.studies, ("id", "patient_id")):
        patient.update(zip(part.column("id").to_pylist(), part.column("patient_id").to_pylist(), strict=True))
    prompts = [part.to_pylist() for part in _parts(run.prompts, ("id", "study_id"))]
    return {row["id"]: patient[row["study_id"]] for rows in prompts for row in rows}


def _parts(table: Table[Any], names: tuple[str, ...]) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    for index in range(_manifest(table).parts):
        with pq.ParquetFile(table.part_path(index)) as file:
            yield file.read(columns=list(names), use_threads=False).select(list(names)).replace_schema_metadata()


def _manifest(table: Table[Any]) -> Manifest:
    manifest = Manifest.load(table.folder)
    if manifest is None:
        raise UserError(
            f"The table {table.folder} is not finished.",
            "Its manifest.json, which is written last, is not there or is damaged.",
            "Run the stage that makes it, or `chexalign run` with the same recipe.",
        )
    return manifest
