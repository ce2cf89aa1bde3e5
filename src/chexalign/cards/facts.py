"""What several cards tell: what was left out, judges with their versions, licenses, seeds and hardware."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from chexalign import artifact
from chexalign.cards.sources import Sources, plain, section, table
from chexalign.recipe import JudgeSpec, Recipe, folder_name
from chexalign.run_folder import RunFolder
from chexalign.store import MANIFEST, Manifest, Table

RECIPE = "recipe.yaml"


def left_out(root: Path, folders: Iterable[Path], sources: Sources) -> list[str]:
    """What each finished stage wrote and what it left out, by reason."""
    rows = []
    for folder in folders:
        manifest = Manifest.load(folder)
        if manifest is None:
            continue
        name = str(folder.relative_to(root))
        file = f"{name}/{MANIFEST}"
        reasons = ", ".join(f"{plain(reason)} {n:,}" for reason, n in manifest.dropped.items())
        count = f"{manifest.rows:,}{sources.note(file, 'rows')}"
        rows.append([f"`{name}`", count, (reasons or "none") + sources.note(file, "dropped")])
    return section("What was left out", table(["stage", "rows", "left out, by reason"], rows)) if rows else []


def judge_lines(
    run: RunFolder, judges: Sequence[JudgeSpec], tables: Sequence[Table[Any]], sources: Sources
) -> Iterator[str]:
    """Each judge with the version that its scores were given by."""
    for judge, scores in zip(judges, tables, strict=True):
        manifest, where = Manifest.load(scores.folder), scores.folder.relative_to(run.root)
        if manifest is None or not manifest.rows:
            yield f"- `{folder_name(judge)}`: no scores; {where} is not there or not finished."
            continue
        name = scores.column(0, "judge")[0]
        note = sources.note(f"{where}/part-00000.parquet", "column judge")
        yield f"- `{folder_name(judge)}`: `{name}`{note}."


def how(recipe: Recipe, sources: Sources, checkpoint: Path | None = None) -> list[str]:
    """References, seed and what is known of the hardware."""
    lines = [
        f"- References: normalized by `{recipe.data.normalizer}`{sources.note(RECIPE, 'data.normalizer')}.",
        f"- Seed: {recipe.seed}{sources.note(RECIPE, 'seed')}. Every random choice is keyed by it.",
    ]
    manifest = Manifest.load(checkpoint) if checkpoint else None
    if checkpoint is not None and manifest is not None:
        file = f"policy/{checkpoint.name}"
        lines.append(
            f"- Hardware: trained for {manifest.seconds:,.0f} s{sources.note(f'{file}/{MANIFEST}', 'seconds')} with "
            f"{recipe.threads} threads{sources.note(RECIPE, 'threads')}{_memory(checkpoint, file, sources)}. "
            "The run folder does not tell the make of the machine."
        )
    if recipe.compute is not None:
        given = recipe.compute.model_dump(mode="json", exclude_none=True)
        words = ", ".join(f"{key} {value}" for key, value in given.items())
        lines.append(f"- Compute: {plain(words)}{sources.note(RECIPE, 'compute')}.")
    return section("How it was made", lines)


def _memory(checkpoint: Path, file: str, sources: Sources) -> str:
    if not (checkpoint / artifact.LOG).is_file():
        return ""
    peaks = [row["peak_memory_mb"] for row in artifact.read_log(checkpoint) if "peak_memory_mb" in row]
    if not peaks:
        return ""
    note = sources.note(f"{file}/{artifact.LOG}", "largest peak_memory_mb")
    return f" and at most {max(peaks):,.0f} MB of memory{note}"


def license_lines(name: str, rows: Table[Any], sources: Sources) -> list[str]:
    """Licenses of the rows of a table, with how many rows each has."""
    counts = counted(rows, "license")
    note = sources.note(f"{name}/part-*.parquet", "column license")
    return [f"- {plain(license)}: {n:,} rows of `{name}`{note}." for license, n in counts.items()]


def counted(rows: Table[Any], column: str) -> Counter[str]:
    """How many rows of a finished table have each value of a column."""
    manifest, counts = Manifest.load(rows.folder), Counter[str]()
    for index in range(manifest.parts if manifest else 0):
        counts.update(rows.column(index, column))
    return counts
