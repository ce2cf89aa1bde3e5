"""All tables of a comparison, and its figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chexalign.compare.grid import Grid
from chexalign.compare.questions import Questions
from chexalign.compare.quoted import Quoted
from chexalign.compare.reports import judges_grid, label_grids, length_grid, per_label_grid, tasks_grid, types_grid
from chexalign.compare.side import Side, open_sides
from chexalign.compare.stages import algorithms_grid, pairs_grid, splits_grid
from chexalign.compare.studies import Studies


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is written in every format."""

    labels: Sequence[str]  # of the runs
    notes: Sequence[str]  # about all tables
    grids: Sequence[Grid]  # those of figures last


def compare_runs(folders: Sequence[Path], *, quoted: Sequence[Quoted] = (), same_studies: bool = False) -> Comparison:
    """The runs side by side; tables without a column are left out. It holds no report text.

    Raises: UserError for folders that are no finished runs, and for runs that cannot stand side by side.
    """
    sides = open_sides(folders)
    studies, questions = Studies(sides, same=same_studies), Questions(sides)
    grids = [
        algorithms_grid(sides),
        judges_grid(sides, studies, quoted, overlap=False),
        *label_grids(sides, studies, quoted),
        tasks_grid(sides, questions, quoted),
        splits_grid(sides),
        pairs_grid(sides),
        judges_grid(sides, studies, quoted, overlap=True),
        per_label_grid(sides, studies),
        types_grid(sides, questions),
        length_grid(sides, studies),
    ]
    grids = [grid for grid in grids if any(cell.estimate for line in grid.lines for cell in line.cells)]
    grids.sort(key=lambda grid: (not grid.number.isdigit(), int(grid.number.split()[-1])))
    return Comparison([side.label for side in sides], _notes(sides, studies), grids)


def _notes(sides: Sequence[Side], studies: Studies) -> list[str]:
    judges = {name: used.name for side in sides for name, used in side.judges.items()}
    notes = [
        f"Runs: {', '.join(f'{side.label} (folder {side.run.root.name}, seed {side.recipe.seed})' for side in sides)}.",
        f"Reports are those of the split {sides[0].split}; references are {sides[0].recipe.data.normalizer}; judges: "
        f"{', '.join(f'{name} is {used}' for name, used in judges.items()) or 'none'}.",
    ]
    n, patients = len(studies.truth.studies), len(set(studies.patients))
    if studies.same:
        notes.append(f"All numbers of reports are over the same {n:,} studies of {patients:,} patients.")
    else:
        sizes = ", ".join(f"{label} {size:,}" for label, size in studies.sizes.items())
        notes.append(
            f"The runs were evaluated on different studies ({sizes}). Numbers of reports were computed again on the "
            f"{n:,} studies of {patients:,} patients that all have."
        )
    if any(image.synthetic for study in studies.truth.studies for image in study.images):
        notes.append("Images are synthetic phantoms: this shows the method, not clinical skill.")
    return notes
