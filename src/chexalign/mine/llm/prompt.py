"""What a language model is asked in order to write a counterfactual rationale: a file with places for a question."""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from chexalign import ids
from chexalign.data.answers import answer_text
from chexalign.data.questions import region_words
from chexalign.errors import UserError
from chexalign.judges.asking import without_controls
from chexalign.types import Evidence, Question

PACKAGED = Path(__file__).parent / "prompts" / "counterfactual.txt"
REQUIRED = ("question", "answer")
PLACES = (*REQUIRED, "options", "rationale", "evidence")

_PLACE = re.compile(r"\{([a-z_]+)\}")
_NOTHING = "(none given)"


@dataclass(frozen=True, slots=True)
class CounterfactualPrompt:
    """A prompt with the places {question} and {answer}, and {options}, {rationale} and {evidence} where wanted.

    A single word in braces is a place; other braces are text, as those of JSON are.
    Raises: UserError for an unknown place, and for one of the first two that is missing.
    """

    text: str

    def __post_init__(self) -> None:
        found = _PLACE.findall(self.text)
        if strange := sorted(set(found) - set(PLACES)):
            near = difflib.get_close_matches(strange[0], PLACES, n=1) or [PLACES[0]]
            raise UserError(
                f"A prompt with the place {{{strange[0]}}}.",
                f"Nothing is known to stand there; the places are: {', '.join(PLACES)}.",
                f"Did you mean {{{near[0]}}}? A word in braces that is no place needs a blank beside it.",
            )
        if missing := [name for name in REQUIRED if name not in found]:
            raise UserError(
                f"A prompt without the place {{{missing[0]}}}.",
                "A wrong answer cannot be written without the question and what is right.",
                "Write {question} and {answer} where they are to stand.",
            )

    @staticmethod
    def load(path: Path | None = None) -> CounterfactualPrompt:
        """The prompt in a file, or the packaged one.

        Raises: UserError when the file cannot be read, or is no such prompt.
        """
        path = path or PACKAGED
        try:
            return CounterfactualPrompt(path.expanduser().read_bytes().decode())  # as it is, line ends included
        except (OSError, UnicodeDecodeError) as e:
            raise UserError(
                f"The prompt file {path} cannot be read.",
                "It is no file here, or no text in UTF-8.",
                "Give the path of a text file with {question} and {answer} in it, or none for the packaged one.",
            ) from e

    def render(self, question: Question) -> str:
        """The prompt about a question, whose texts are put in as they are, without control characters."""
        texts = places_of(question)
        return _PLACE.sub(lambda place: without_controls(texts[place[1]]), self.text)

    @property
    def digest(self) -> str:
        """Eight hex digits that name the wording."""
        return ids.digest(self.text, length=8)


def places_of(question: Question) -> Mapping[str, str]:
    """The text that stands in each place. Of evidence, ids of studies are left out: they say nothing and identify."""
    lettered = question.answer_type in ("verify", "choose") and len(question.options) <= len(string.ascii_uppercase)
    marks = [f"({letter})" for letter in string.ascii_uppercase] if lettered else ["-"] * len(question.options)
    evidence = [_evidence(e) for e in question.evidence if e.kind != "study"]
    return {
        "question": question.text,
        "answer": answer_text(replace(question, rationale=None)),
        "options": "\n".join(f"{mark} {o}" for mark, o in zip(marks, question.options, strict=False)) or _NOTHING,
        "rationale": question.rationale or _NOTHING,
        "evidence": "\n".join(f"- {line}" for line in evidence) or _NOTHING,
    }


def _evidence(evidence: Evidence) -> str:
    """A piece of evidence as one line.

    >>> _evidence(Evidence("label", "edema", present=False))
    'edema: absent'
    """
    said = f"{evidence.text}: {'present' if evidence.present else 'absent'}"
    return f"{said}, {region_words(evidence.box)}" if evidence.box else said
