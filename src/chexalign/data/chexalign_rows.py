"""Rows of the files that the CheXalign authors' scripts write, read without the library that wrote them.

Their scripts save `datasets` folders: `data-*.arrow` streams, or one such folder for each split. A row of completions
has `section_findings`, `section_indication`, `prompt`, `image_path` and `candidate_findings_1` to `_4`; a scored row
has `green_scores1` to `4` besides, and one of a chunk only the one that it is of. A row of pairs has `prompt` with
image markup, `chosen`, `rejected`, `reference`, `reward_chosen` and `reward_rejected`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexalign.errors import UserError

_SCORE = re.compile(r"^(\w+?)_scores(\d+)$")
_CANDIDATE = re.compile(r"^candidate_findings_(\d+)$")
_IMAGE = re.compile(r"Picture \d+:\s*<\|img\|>(.*?)<\|/img\|>\n?")


@dataclass(frozen=True, slots=True)
class Drawn:
    """One text that stands in a row, and the scores it has there by judge; None is a score that is empty."""

    draw: int
    text: str
    scores: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class SavedRow:
    """One study of their files, whichever script wrote the row; `pair` says whether it is chosen and rejected."""

    prompt: str
    images: tuple[str, ...]
    indication: str | None
    reference: str
    drawn: tuple[Drawn, ...]
    pair: bool


def saved_rows(folder: Path, split: str) -> Iterator[SavedRow]:
    """The rows of a folder that `save_to_disk` wrote, in order.

    Raises: UserError when there is no such folder or split, or the rows are of neither script.
    """
    import pyarrow as pa

    for path in _streams(folder, split):
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
                for batch in stream:
                    yield from (_row(row, folder) for row in batch.to_pylist())
        except pa.ArrowInvalid as error:
            raise UserError(
                f"{path} cannot be read ({type(error).__name__}).",
                "It must be an Arrow stream as `datasets` saves it, whole.",
                "Copy the folder again.",
            ) from error


def _streams(folder: Path, split: str) -> list[Path]:
    place = folder / split if (folder / "dataset_dict.json").is_file() else folder
    found = sorted(place.glob("data-*.arrow"))
    if not found:
        raise UserError(
            f"{folder} holds no saved dataset with the split {split!r}.",
            "It must be a folder that their scripts saved, with data-00000-of-00001.arrow in it or in the split.",
            "Name that folder, or another split with --split.",
        )
    return found


def _row(row: dict[str, Any], folder: Path) -> SavedRow:
    if {"prompt", "chosen", "rejected", "reference"} <= row.keys():
        return _pair(row)
    texts = {int(m[1]): row[name] for name in row if (m := _CANDIDATE.match(name))}
    if not texts or "section_findings" not in row or "prompt" not in row:
        raise UserError(
            f"The rows of {folder} are neither completions nor pairs of the CheXalign scripts.",
            f"Their columns are {', '.join(sorted(row))}.",
            "Name a folder of completions, of scored chunks or of pairs; KTO data holds no more than the pairs do.",
        )
    scores: dict[int, dict[str, float | None]] = {draw: {} for draw in texts}
    for name, value in row.items():
        if (found := _SCORE.match(name)) and int(found[2]) in scores:
            scores[int(found[2])][found[1]] = _number(value)
    return SavedRow(
        prompt=row["prompt"],
        images=_paths(row.get("image_path")),
        indication=row.get("section_indication") or None,
        reference=row["section_findings"] or "",
        drawn=tuple(Drawn(draw - 1, text or "", scores[draw]) for draw, text in sorted(texts.items())),
        pair=False,
    )


def _pair(row: dict[str, Any]) -> SavedRow:
    sides = [
        Drawn(draw, row[side] or "", {"reward": _number(row.get(f"reward_{side}"))})
        for draw, side in enumerate(("chosen", "rejected"))
    ]
    images = tuple(_IMAGE.findall(row["prompt"]))
    return SavedRow(_IMAGE.sub("", row["prompt"]), images, None, row["reference"] or "", tuple(sides), True)


def _paths(value: Any) -> tuple[str, ...]:
    """Paths as a list, or as one text that joins them by `|`."""
    if not value:
        return ()
    return tuple(value.split("|")) if isinstance(value, str) else tuple(value)


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
