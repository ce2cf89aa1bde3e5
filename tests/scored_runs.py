"""Run folders with candidates made up by hand, for tests of the stages after sampling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chexalign.run_folder import RunFolder
from chexalign.store import Manifest, Table
from chexalign.types import Candidate, ImageRef, Prompt, Study

References = Sequence[str]
Drawn = Sequence[Sequence[str]]  # the candidates of each study


def finished(table: Table[Any], rows: Sequence[Any]) -> None:
    """Writes a whole table in one part."""
    info = table.write_part(0, rows, fingerprint="f")
    Manifest(table.folder.name, "f", {}, {}, 1, info.rows, {}, info.content, 0.0).save(table.folder)


def run_with(root: Path, references: References, drawn: Drawn) -> RunFolder:
    """A run folder with one study and prompt per reference, and the candidates drawn for each."""
    run, image = RunFolder(root), ImageRef("x.png", "0" * 64, "frontal", 8, 8)
    studies = [
        Study(f"s{i}", f"q{i}", (image,), None, text, None, (), "prefer", "made", "CC0")
        for i, text in enumerate(references)
    ]
    finished(run.studies, studies)
    finished(run.prompts, [Prompt(f"p{i}", s.id, "findings", "?", "findings@1") for i, s in enumerate(studies)])
    rows = [
        Candidate(f"c{i}-{j}", f"p{i}", text, 3, None, "stop", j, "made")
        for i, texts in enumerate(drawn)
        for j, text in enumerate(texts)
    ]
    finished(run.candidates, rows)
    return run
