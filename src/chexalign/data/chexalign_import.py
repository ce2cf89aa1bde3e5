"""A run folder's tables from the files of the CheXalign authors' scripts, so that their scores can be paired anew."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from chexalign import ids
from chexalign.data.base import DropStudyError
from chexalign.data.chexalign_rows import SavedRow, saved_rows
from chexalign.data.images import image_ref
from chexalign.data.layout import inside
from chexalign.errors import UserError
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey
from chexalign.store import Manifest, Table
from chexalign.types import Candidate, ImageRef, Pair, Prompt, Score, Study

R = TypeVar("R")
PAIRS = "imported"  # the arm that their pairs stand under
NO_SCORE = "not in the imported files"
_PATIENT = re.compile(r"(?:^|/)(p\d{8})/")


@dataclass(slots=True)
class _Tables:
    root: Path | None  # of the image files; None where the rows hold whole paths
    images: Path  # where images go that have to be decoded
    studies: dict[str, Study] = field(default_factory=dict)
    prompts: dict[str, Prompt] = field(default_factory=dict)
    candidates: dict[str, Candidate] = field(default_factory=dict)
    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)  # judge -> candidate -> value
    pairs: dict[str, Pair] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)


def import_chexalign(
    folders: Sequence[Path], run: RunFolder, *, split: str = "train", images: Path | None = None
) -> dict[str, Manifest]:
    """The manifests of the tables that were made, by name: studies, prompts, candidates, scores/JUDGE, pairs/imported.

    Several folders are put together: completions, and the chunks that score them one completion at a time. A row that
    occurs again adds nothing; one without a reference is dropped and counted. Scores keep the judge's name with the
    version `imported`. An empty one becomes unscored, but a GREEN answer that could not be parsed stands in their files
    as 0 or 1 and cannot be told from a score. The number of tokens is not known and stands as 0. Image files are looked
    for under `images`, or as the paths say; those that are not there are left out of the study and counted.
    Raises: UserError when the files are others, when the run folder is not empty, or for a text with two scores.
    """
    if run.root.is_dir() and any(run.root.iterdir()):
        raise UserError(
            f"{run.root} is not empty.",
            "Imported tables would be mixed with those of another run.",
            "Name a folder that does not exist yet with --to.",
        )
    tables = _Tables(images, run.images)
    for folder in folders:
        for row in saved_rows(folder, split):
            _take(tables, row)
    return _write(tables, run, [str(folder.name) for folder in folders])


def _take(tables: _Tables, row: SavedRow) -> None:
    if not row.reference.strip():
        tables.dropped["findings_empty"] += 1
        return
    study_id = ids.digest("chexalign", row.images, row.reference, row.prompt)
    if study_id not in tables.studies:
        patient = next((m[1] for path in row.images if (m := _PATIENT.search(path))), study_id)
        found = tuple(ref for path in row.images[:2] if (ref := _image(tables, path)))
        tables.studies[study_id] = Study(
            study_id, patient, found, row.indication, row.reference, None, (), "prefer", "chexalign", "not stated"
        )
    prompt = Prompt(ids.digest("prompt", study_id, row.prompt), study_id, "findings", row.prompt, "imported@1")
    tables.prompts[prompt.id] = prompt
    made = [_candidate(prompt, drawn.draw, drawn.text, pair=row.pair) for drawn in row.drawn]
    for candidate, drawn in zip(made, row.drawn, strict=True):
        tables.candidates[candidate.id] = candidate
        for judge, value in drawn.scores.items():
            _score(tables, judge, candidate.id, value)
    if row.pair:
        _pair(tables, row, prompt, made)


def _candidate(prompt: Prompt, draw: int, text: str, *, pair: bool) -> Candidate:
    sampler = "imported pair" if pair else "imported"
    return Candidate(ids.digest("candidate", prompt.id, draw, text), prompt.id, text, 0, None, "stop", draw, sampler)


def _score(tables: _Tables, judge: str, candidate_id: str, value: float | None) -> None:
    known = tables.scores.setdefault(judge, {})
    if known.get(candidate_id, value) != value:
        raise UserError(
            f"The candidate {candidate_id} has two scores by {judge}.",
            "It is not known which of them is meant.",
            "Import the folders of one scoring only.",
        )
    known[candidate_id] = value


def _pair(tables: _Tables, row: SavedRow, prompt: Prompt, made: Sequence[Candidate]) -> None:
    chosen, rejected = made
    high, low = (drawn.scores["reward"] for drawn in row.drawn)
    if high is None or low is None or chosen.text.split() == rejected.text.split():
        tables.dropped["equal_texts" if high is not None and low is not None else "unscored"] += 1
        return
    words = len(chosen.text.split()) - len(rejected.text.split())
    pair_id = ids.digest("pair", prompt.id, chosen.id, rejected.id, "reward@imported", PAIRS)
    pair = Pair(pair_id, prompt.id, chosen.id, rejected.id, high - low, words, "reward@imported", PAIRS)
    tables.pairs[pair.id] = pair


def _image(tables: _Tables, path: str) -> ImageRef | None:
    try:
        found = Path(path) if tables.root is None else inside(tables.root, path.lstrip("/"))
        if found is None:
            raise DropStudyError("image_outside_the_folder")
        return image_ref(found, "unknown", into=tables.images)
    except DropStudyError as reason:
        tables.dropped[str(reason)] += 1
        return None


def _write(tables: _Tables, run: RunFolder, sources: list[str]) -> dict[str, Manifest]:
    key = StageKey("import", {}, {"folders": sources}, 0)
    written = {
        "studies": _table(run.studies, list(tables.studies.values()), key, dict(sorted(tables.dropped.items()))),
        "prompts": _table(run.prompts, list(tables.prompts.values()), key),
        "candidates": _table(run.candidates, list(tables.candidates.values()), key),
    }
    for judge, values in sorted(tables.scores.items()):
        rows = [_score_row(judge, i, values.get(i), known=i in values) for i in tables.candidates]
        written[f"scores/{judge}"] = _table(run.scores(judge), rows, key)
    if tables.pairs:
        written[f"pairs/{PAIRS}"] = _table(run.pairs(PAIRS), list(tables.pairs.values()), key)
    return written


def _score_row(judge: str, candidate_id: str, value: float | None, *, known: bool) -> Score:
    label = f"{judge}@imported"
    if value is not None:
        return Score(candidate_id, label, value)
    return Score(candidate_id, label, None, status="unparsed" if known else "error", reason=None if known else NO_SCORE)


def _table(table: Table[R], rows: list[R], key: StageKey, dropped: dict[str, int] | None = None) -> Manifest:
    info = table.write_part(0, rows, fingerprint=key.fingerprint, dropped=dropped)
    manifest = Manifest(
        stage=key.stage,
        fingerprint=key.fingerprint,
        inputs=key.inputs,
        config=key.config,
        seed=key.seed,
        rows=len(rows),
        dropped=dropped or {},
        content=ids.digest([info.content]),
        seconds=info.seconds,
    )
    manifest.save(table.folder)
    return manifest
