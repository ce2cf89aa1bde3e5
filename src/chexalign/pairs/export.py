"""Pairs and verdicts with their texts and images, in the formats that other trainers read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from chexalign import __version__, atomic, ids
from chexalign.errors import UserError
from chexalign.pairs.export_card import REPORTS, Subject, card
from chexalign.pairs.export_formats import WRITERS, Format, Plain, Row, parquet_schema
from chexalign.run_folder import RunFolder
from chexalign.store import MANIFEST, Manifest, Table
from chexalign.types import Pair, Verdict

CARD, PARQUET, JSONL = "README.md", "train.parquet", "train.jsonl"
_OURS = {MANIFEST, CARD, PARQUET, JSONL}
_ROWS_AT_ONCE = 4096


def export(
    run: RunFolder, table: Table[Pair] | Table[Verdict], to: Path, *, format: Format, max_images: int
) -> Manifest:
    """The manifest of a folder that holds the preferences of a finished table in that format; it is written last.

    The folder holds report text: it and its files are readable by their owner only. Images stay where they are and
    stand in rows by absolute path. An earlier export in the folder is replaced.
    Raises: UserError when the folder holds anything else, the table is not finished or has no rows, or verdicts cannot
    be written in that format.
    """
    rows = _rows(run, table, max_images)
    return write_export(rows, table, to, format=format, max_images=max_images, normalizer=run.normalizer)


def write_export(
    rows: Iterable[Row],
    table: Table[Pair] | Table[Verdict],
    to: Path,
    *,
    format: Format,
    max_images: int,
    normalizer: str,
    subject: Subject = REPORTS,
) -> Manifest:
    """`export` for rows that are made elsewhere, of the preferences of the table; they are read once all is checked."""
    start = time.perf_counter()
    source = _source(table, format)
    _make_room(to)
    rows = list(rows)
    written = [plain for row in rows for plain in WRITERS[format](row)]
    name = PARQUET if parquet_schema(format) else JSONL
    atomic.write_file(to / name, lambda temporary: _write(temporary, written, format))
    licenses = sorted({row.license for row in rows})
    told = card(
        name,
        format,
        rows=len(written),
        columns=list(written[0]),
        licenses=licenses,
        source=source,
        normalizer=normalizer,
        subject=subject,
    )
    atomic.write_text(to / CARD, told)
    manifest = Manifest(
        stage="export",
        fingerprint=ids.digest(source.content, format, max_images, __version__),
        inputs={f"{table.folder.parent.name}/{table.folder.name}": source.content},
        config={"format": format, "max_images": max_images},
        seed=source.seed,
        rows=len(written),
        dropped={},
        content=ids.digest(written),
        seconds=time.perf_counter() - start,
        extra={"file": name, "holds_report_text": True, "licenses": licenses},
    )
    manifest.save(to)
    return manifest


def _source(table: Table[Pair] | Table[Verdict], format: Format) -> Manifest:
    found = Manifest.load(table.folder)
    if found is None or not found.rows:
        raise UserError(
            f"{table.folder} is not finished, or has no rows.",
            "An export holds what is there.",
            "Run `chexalign pair` with the same recipe first; it says what was dropped.",
        )
    if format == "trl" and table.record is Verdict:
        raise UserError(
            f"{table.folder} holds verdicts on single candidates.",
            "The format trl is one of pairs.",
            "Use --format trl-unpaired.",
        )
    return found


def _make_room(to: Path) -> None:
    """Leaves an empty folder, after an earlier export has gone, its manifest first."""
    there = [path for path in to.iterdir() if not path.name.endswith(".tmp")] if to.is_dir() else []
    if any(path.name not in _OURS for path in there) or (to.exists() and not to.is_dir()):
        raise UserError(
            f"{to} holds something other than an export.",
            "It could be mistaken for a part of one.",
            "Name a folder that does not exist yet with --to.",
        )
    atomic.make_folder(to).chmod(atomic.OWNER_ONLY_DIR)
    for name in (MANIFEST, PARQUET, JSONL, CARD):
        (to / name).unlink(missing_ok=True)
    atomic.remove_leftovers(to)


def _rows(run: RunFolder, table: Table[Pair] | Table[Verdict], max_images: int) -> Iterator[Row]:
    preferences: Sequence[Pair | Verdict] = table.rows()
    used = {i for p in preferences for i in _candidates(p)}
    texts = {c.id: c.text for c in run.candidates.iter_rows() if c.id in used}
    prompts = {p.id: p for p in run.prompts.iter_rows()}
    studies = {s.id: s for s in run.studies.iter_rows()}
    for p in preferences:
        prompt = prompts[p.prompt_id]
        study = studies[prompt.study_id]
        images = tuple(str(run.image_path(image).absolute()) for image in study.images[:max_images])
        written = tuple(texts[i] for i in _candidates(p))
        about = {"reference": study.reference}
        yield Row(study.id, study.patient_id, study.license, prompt.text, images, written, p, about)


def _candidates(preference: Pair | Verdict) -> tuple[str, ...]:
    if isinstance(preference, Pair):
        return preference.chosen_id, preference.rejected_id
    return (preference.candidate_id,)


def _write(path: Path, rows: Sequence[Plain], format: Format) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = parquet_schema(format)
    if schema is None:
        with path.open("w", encoding="utf-8") as f:
            f.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            writer.write_table(pa.Table.from_pylist(list(rows[start : start + _ROWS_AT_ONCE]), schema=schema))
