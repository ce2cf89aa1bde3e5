"""What transformers says when it cannot read a checkpoint, in three lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chexalign.engines.device import is_out_of_memory
from chexalign.errors import UserError


@contextmanager
def reading(part: str, folder: Path) -> Iterator[None]:
    """Around the reading of a part of a checkpoint: "configuration", "processor" or "weights".

    Raises: UserError when it is missing, damaged, or of a kind that the installed transformers does not know.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as e:  # it raises whatever its readers raise: of JSON, of safetensors, of tokenizers
        if is_out_of_memory(e):
            raise
        unknown = "model type" in str(e) or "model_type" in str(e)
        raise (_unknown(folder, e) if unknown else _unreadable(part, folder, e)) from e


def _unknown(folder: Path, e: Exception) -> UserError:
    import transformers

    return UserError(
        f"The model in {folder} is of a kind that transformers {transformers.__version__} does not know.",
        _first_line(str(e)),
        "Install the transformers that its model card asks for; docs/models.md lists what is known to work.",
    )


def _unreadable(part: str, folder: Path, e: Exception) -> UserError:
    return UserError(
        f"The {part} of the model in {folder} cannot be read ({type(e).__name__}).",
        _first_line(str(e)) or "A file is missing or damaged.",
        "Copy or download the folder again, and compare the sizes of its files with the original's.",
    )


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:300] if text.strip() else ""
