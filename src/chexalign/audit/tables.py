"""The finished tables of a folder that `chexalign data prepare` or a run wrote, with their parts checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chexalign import ids
from chexalign.errors import UserError
from chexalign.run_folder import RunFolder
from chexalign.store import MANIFEST, Manifest, Table
from chexalign.types import Question, Study

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Prepared:
    """The tables of a folder, each finished and whole."""

    folder: RunFolder
    studies: Table[Study] | None
    questions: dict[str, Table[Question]]
    manifests: dict[str, Manifest]  # of each table by its name: studies, questions/NAME

    @property
    def names(self) -> list[str]:
        """The tables by their folders, studies first."""
        return list(self.manifests)


def open_prepared(root: Path) -> Prepared:
    """The tables of a folder, after a look at every part.

    Cost: one read of all parts, no image.
    Raises: UserError when there is no table, one is not finished, or parts are damaged or another table's.
    """
    if not root.is_dir():
        raise UserError(
            f"There is no folder {root}.",
            "Tables are looked for in a folder that `chexalign data prepare` or a run made.",
            "Give that folder, or the recipe of the run.",
        )
    folder = RunFolder(root)
    studies = folder.studies if _is_table(folder.studies.folder) else None
    names = sorted(path.name for path in (root / "questions").glob("*") if _is_table(path))
    questions = {name: folder.questions(name) for name in names}
    if studies is None and not questions:
        raise _no_tables(root)
    tables: dict[str, Table[Study] | Table[Question]] = {} if studies is None else {"studies": studies}
    tables |= {f"questions/{name}": table for name, table in questions.items()}
    return Prepared(folder, studies, questions, {name: _whole(table) for name, table in tables.items()})


def _is_table(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or any(folder.glob("part-*.parquet"))


def _whole(table: Table[Study] | Table[Question]) -> Manifest:
    """The manifest of a table, all of whose parts are the ones that it was written for."""
    manifest, folder = Manifest.load(table.folder), table.folder
    if manifest is None:
        raise UserError(
            f"The table {folder} is not finished.",
            "Its manifest.json, which is written last, is not there or is damaged.",
            "Give the command that makes the table again; it goes on where it stopped.",
        )
    contents = []
    for index in range(manifest.parts):
        info = table.part_info(index, fingerprint=manifest.fingerprint)
        if info is None:
            raise UserError(
                f"{table.part_path(index)} is damaged, missing, or a part of another table.",
                f"It is not what {folder / MANIFEST} was written for.",
                f"Delete {folder} and prepare it again.",
            )
        contents.append(info.content)
    if ids.digest(contents) != manifest.content:
        raise UserError(
            f"{folder / MANIFEST} belongs to another folder.",
            "The parts beside it hold other rows than it was written for.",
            f"Delete {folder} and prepare it again.",
        )
    return manifest


def _no_tables(root: Path) -> UserError:
    if _is_table(root):
        return UserError(
            f"{root} is a single table.",
            "What is checked is a whole folder, so that splits of all its tables can be compared.",
            f"Give {root.parent if root.parent.name != 'questions' else root.parent.parent}.",
        )
    there = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
    more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    return UserError(
        f"{root} holds no prepared tables.",
        f"Looked for studies/ and questions/NAME/; there is: {', '.join(there[:_SHOWN]) or 'nothing'}{more}.",
        "Make them with `chexalign data prepare`; `chexalign data prepare --help` opens with an example.",
    )
