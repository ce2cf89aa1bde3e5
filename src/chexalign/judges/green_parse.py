"""What an answer in GREEN's format says: strictly, where a malformed answer is no number, and as the official code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

LETTERS = "abcdef"
SECTIONS = {
    "significant": "Clinically Significant Errors",
    "insignificant": "Clinically Insignificant Errors",
    "matched": "Matched Findings",
}

_HEADER = re.compile(r"^[ \t]*\[(Explanation|" + "|".join(SECTIONS.values()) + r")\]:", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*`{3,}\w*[ \t]*$", re.MULTILINE)
_ERROR_LINE = re.compile(r"\(([a-f1-6])\) ([^:]*): ([0-9]{1,3})\.(?!\d)(.*)")
_ERROR_INSIDE = re.compile(r"\([a-f1-6]\) [^:;]*: \d+\.")
_MATCHED_LINE = re.compile(r"([0-9]{1,3})\.(?!\d)(.*)")
_NONE = re.compile(r"(no|none|n/a)\.?", re.IGNORECASE)
_NO_ERRORS = re.compile(r"no\b[^;:()\d]*\berrors?\b[^;:()\d]*", re.IGNORECASE)
_NO_MATCHES = re.compile(r"no\b[^;:()\d]*\bmatch(ed|es|ing)?\b[^;:()\d]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What an answer counts; all counts are 0 where `reason` says why it is unparsed."""

    reason: str | None = None
    matched: int = 0
    significant: Mapping[str, int] = field(default_factory=dict)
    insignificant: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[str, ...] = ()  # those that match, as the answer lists them
    sentences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # e.g. "significant.b", where it lists any

    @property
    def value(self) -> float | None:
        """Matched findings by matched findings and significant errors; 0 where nothing matches, None if unparsed."""
        if self.reason is not None:
            return None
        return self.matched / (self.matched + sum(self.significant.values())) if self.matched else 0.0


class _MalformedError(Exception):
    """Why an answer is unparsed; its text quotes nothing."""


def parse_green(answer: str) -> Parsed:
    """The counts of an answer in GREEN's format; unparsed, with the reason, where a section is missing or malformed.

    The rule. Each of the three sections of `SECTIONS` has its header at the start of a line, once; the section ends
    with the next header. A section of errors is one line that says that there are no errors, or nothing but lines
    `(a) kind: 2. first; second`, each letter once, all with letters a-f or all with numbers 1-6. The matched findings
    are one line `3. first; second; third`, or one that says that there is no match. Blank lines and lines of ``` count
    for nothing. What is listed behind a count need not be as many.

    >>> errors = "[Clinically Significant Errors]:\\n(b) Missing finding: 1. Small effusion\\n\\n"
    >>> rest = "[Clinically Insignificant Errors]:\\nNo errors.\\n\\n[Matched Findings]:\\n3. A; B; C"
    >>> parsed = parse_green(errors + rest)
    >>> parsed.value, parsed.sentences
    (0.75, {'significant.b': ('Small effusion',)})
    """
    try:
        bodies = _bodies(clean_answer(answer))
        sentences: dict[str, tuple[str, ...]] = {}
        counts = {}
        for name in ("significant", "insignificant"):
            counts[name], listed = _errors(name, bodies[name])
            sentences |= {f"{name}.{letter}": texts for letter, texts in listed.items() if texts}
        matched, findings = _matched(bodies["matched"])
    except _MalformedError as e:
        return Parsed(reason=str(e))
    return Parsed(None, matched, counts["significant"], counts["insignificant"], findings, sentences)


def clean_answer(answer: str) -> str:
    """The answer from its explanation on, without the marks of the chat format, as the official code cleans it."""
    answer = answer.rpartition("<|assistant|>")[2]
    if "[Explanation]:" in answer:
        pieces = answer.split("[Explanation]:")
        answer = pieces[1] if "[Explanation]:\n    <Explanation>\n" in answer else pieces[-1]
    return answer.replace("</s>", "").replace("<unk>", "")


def _bodies(text: str) -> dict[str, list[str]]:
    """The lines of each section."""
    headers = list(_HEADER.finditer(text))
    ends = [header.start() for header in headers[1:]] + [len(text)] * bool(headers)
    bodies: dict[str, list[str]] = {}
    for name, title in SECTIONS.items():
        found = [(h.end(), end) for h, end in zip(headers, ends, strict=True) if h[1] == title]
        if len(found) != 1:
            raise _MalformedError(f"the section [{title}] is {'there more than once' if found else 'missing'}")
        start, end = found[0]
        lines = _FENCE.sub("", text[start:end]).splitlines()
        bodies[name] = [line.strip() for line in lines if line.strip()]
        if not bodies[name]:
            raise _MalformedError(f"the section [{title}] is empty")
    return bodies


def _errors(name: str, lines: list[str]) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Counts and sentences by letter."""
    counts, sentences = dict.fromkeys(LETTERS, 0), {}
    if _says_none(lines, _NO_ERRORS):
        return counts, {}
    found = [_ERROR_LINE.fullmatch(line) for line in lines]
    matches = [match for match in found if match and not _ERROR_INSIDE.search(match[4])]
    if len(matches) < len(lines):
        raise _MalformedError(f"a line of the section [{SECTIONS[name]}] is not one kind of error with its count")
    marks = "".join(match[1] for match in matches)
    if len(set(marks)) < len(marks):
        raise _MalformedError(f"the section [{SECTIONS[name]}] names one kind of error twice")
    if not (marks.isalpha() or marks.isdigit()):
        raise _MalformedError(f"the section [{SECTIONS[name]}] names kinds of errors by letter and by number")
    for match in matches:
        letter = match[1] if match[1].isalpha() else LETTERS[int(match[1]) - 1]
        counts[letter], sentences[letter] = int(match[3]), _listed(match[4])
    return counts, sentences


def _matched(lines: list[str]) -> tuple[int, tuple[str, ...]]:
    if _says_none(lines, _NO_MATCHES):
        return 0, ()
    match = _MATCHED_LINE.fullmatch(lines[0])
    if match is None or len(lines) > 1:
        raise _MalformedError(f"the section [{SECTIONS['matched']}] is no single line that begins with a count")
    return int(match[1]), _listed(match[2])


def _says_none(lines: list[str], statement: re.Pattern[str]) -> bool:
    return len(lines) == 1 and bool(_NONE.fullmatch(lines[0]) or statement.fullmatch(lines[0]))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(piece.strip() for piece in text.split(";") if piece.strip())


# The official parser -------------------------------------------------------------------------------------------------

_FIRST_COUNT = re.compile(r"(?<=: )\b\d+\b(?=\.)")
_STARTING_COUNT = re.compile(r"\b\d+\b(?=\.)")
_LETTERED, _NUMBERED = (re.compile(rf"\([{marks}]\) .*") for marks in ("a-f", "1-6"))


@dataclass(frozen=True, slots=True)
class Compat:
    """What the official code reads from an answer; it takes whatever it does not understand for 0."""

    matched: int
    significant: tuple[int, ...]  # by letter
    insignificant: tuple[int, ...]

    @property
    def value(self) -> float:
        """The official score: 0 where nothing matches."""
        return self.matched / (self.matched + sum(self.significant)) if self.matched else 0.0


def green_compat(answer: str) -> Compat:
    """The counts that the official code finds, mistakes included.

    A section runs from its first header to the first blank line. One that begins with "No", as "Note" does, is all 0;
    one that is missing too. In a line of errors the first number between ": " and "." counts; a line without it is
    left out; of two lines with one letter the later in sorted order counts. Numbers 1-6 are read where no letter is.

    Source: green-score 0.0.12, `GREEN.parse_error_counts` and `compute_green` behind `clean_responses`; equal to it
    on every answer in tests/golden/judges/green.json.
    """
    text = clean_answer(answer)
    matched = _section(text, "matched", lambda body: _number(_STARTING_COUNT.match(body)))
    significant, insignificant = (_section(text, name, _error_counts) for name in ("significant", "insignificant"))
    return Compat(matched or 0, significant or _ZEROS, insignificant or _ZEROS)


_ZEROS = (0,) * 6


def _section(text: str, name: str, read: Callable[[str], T]) -> T | None:
    """What `read` finds in a section; None for one that is missing or begins with "No"."""
    found = re.search(rf"\[{SECTIONS[name]}\]:\s*(.*?)(?:\n\s*\n|\Z)", text, re.DOTALL)
    return None if found is None or found[1].startswith("No") else read(found[1])


def _error_counts(body: str) -> tuple[int, ...]:
    lines, marks = sorted(_LETTERED.findall(body)), LETTERS
    if not lines:
        lines, marks = sorted(_NUMBERED.findall(body)), "123456"
    counts = dict.fromkeys(marks, 0)
    for line in lines:
        if count := _FIRST_COUNT.search(line):
            counts[line[1]] = int(count[0])
    return tuple(counts.values())


def _number(match: re.Match[str] | None) -> int:
    return int(match[0]) if match else 0
