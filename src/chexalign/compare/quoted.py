"""Published numbers of other systems, which stand beside a comparison and are marked as quoted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from chexalign.compare.grid import Cell, Column, Line
from chexalign.errors import UserError
from chexalign.types import Estimate

PAPER = "paper"
_PAPER_FILE = Path(__file__).parent / "quoted.yaml"


class Quoted(BaseModel):
    """One system of a publication, with its numbers by metric."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str = Field(min_length=1)
    source: str = Field(min_length=1)
    data: str = Field(min_length=1)
    values: dict[str, FiniteFloat] = Field(min_length=1)
    percent: bool = False
    n: int = Field(default=0, ge=0)  # 0 where the publication is not known to tell

    def line(self, columns: Sequence[Column]) -> Line | None:
        """The row of the system, or None where it has none of the columns."""
        if not any(column.metric in self.values for column in columns):
            return None
        told = f"{self.source}; {self.data}"
        return Line("quoted", self.system, [self._cell(column.metric) for column in columns], quoted=told)

    def _cell(self, metric: str) -> Cell:
        if metric not in self.values:
            return Cell(why="not quoted")
        value = self.values[metric] / (100 if self.percent else 1)
        method = f"no interval: quoted from {self.source}; {self.data}"
        found = Estimate(metric, self.system, self.data, value, None, None, 0.0, self.n, self.n, method)
        return Cell(found, f"quoted: {self.source}")


def read_quoted(name: str | None) -> list[Quoted]:
    """The systems of a YAML file, or those of the CheXalign paper for `paper`; none for None.

    Raises: UserError for a file that is not there or is no list of systems.
    """
    if name is None:
        return []
    path = _PAPER_FILE if name == PAPER else Path(name)
    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(list[Quoted]).validate_python(found)
    except (OSError, UnicodeDecodeError):
        raise UserError(
            f"--quoted {name}",
            "There is no such file that can be read.",
            f"Give a YAML file, or `{PAPER}` for what the CheXalign paper prints.",
        ) from None
    except ValidationError as e:
        first = e.errors()[0]
        where = " ".join(".".join(str(part) for part in first["loc"]).split()) or "the file"
        raise UserError(f"--quoted {name}: {where}", f"{first['msg']}.", _FORM) from None
    except (yaml.YAMLError, ValueError, RecursionError):  # a date that is none is a ValueError
        raise UserError(f"--quoted {name}", "The file is not YAML.", _FORM) from None


_FORM = (
    "Write a list of systems, each with system, source, data and values: {metric: number}; percent and n may be added."
)
