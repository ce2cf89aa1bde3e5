"""Findings, impression, indication and comparison out of the text of a report, as MIMIC-CXR's reports are written.

A section begins with a heading at the start of a line, in capitals and with a colon, and ends with the next one:

     INDICATION:  Cough.
     FINDINGS:

     The lungs are clear.

Headings come in many spellings. A heading that names a view or the examination ("PA AND LATERAL VIEWS:") opens the
findings, one that names a conclusion opens the impression, and of two sections of one name the last counts, since
what is repeated is a correction. So does MIMIC's own parser. Unlike it, a heading that names a part of the body
("LUNGS:") belongs to the section that it stands in, so that itemized findings stay whole; and main sections are also
known by headings in small letters ("Findings:"), by ones that stand alone in a line without a colon, and, in a report
that is written in one line, by ones in capitals within it. "FINDINGS/IMPRESSION:" opens the impression. What follows
an addendum's heading belongs to none. "FINDINGS - Clear." has no heading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_ALONE = (
    "FINDINGS|IMPRESSION|FINDINGS/IMPRESSION|CONCLUSIONS?|INDICATION|REASON FOR EXAM(?:INATION)?|(?:CLINICAL )?HISTORY"
    "|COMPARISON|TECHNIQUE|EXAMINATION|ADDENDUM|WET READ|FINAL REPORT"
)
# The colon is followed by a blank, a word or the number of a list; that of "8:30" is not. A heading may be marked as
# bold or as a title, as Markdown does.
_HEADING = re.compile(
    r"^[ \t]{0,8}(?:\*\*|\#{1,4} )?"
    r"(?:([A-Z][A-Z0-9 ()/,&.'-]{1,70}+|[A-Za-z][a-z]++(?: [a-z]++){0,3}+)(?:\*\*)?[ \t]*"
    r":(?:\*\*)?(?=\s|$|[A-Za-z][a-z ]|\d[.)])"
    rf"|({_ALONE})(?:\*\*)?[ \t]*$)",
    re.MULTILINE,
)
_IN_A_LINE = re.compile(rf" ((?:{_ALONE})\s*:)")
# Blanks and line ends of other systems and of the web, and the mark at the beginning of a file.
_CHARACTERS = str.maketrans(
    dict.fromkeys("\u00a0\u2007\u202f", " ")
    | dict.fromkeys("\v\f\x85\u2028\u2029", "\n")
    | {"\ufeff": "", "\uff1a": ":"}
)
_RULE = re.compile(r"^[\s_=*-]{5,}$", re.MULTILINE)  # the line of underscores above an addendum

# First words of headings; where none is listed, the patterns below decide.
_NAMES = {
    "findings": "findings finding finding(s) findins findindgs findgings findngs fidings description report narrative",
    "impression": "impression imp impresson impresion imprssion imression impreession conclusion conclusions opinion "
    "summary interpretation assessment diagnosis",
    "indication": "indication indications reason hx indcation clinical symptoms",
    "history": "history",
    "comparison": "comparison comparisons comparision compairson compared prior priors",
    "other": "technique techniques tecnique technqiue procedure protocol examination exam study type final wet date "
    "time notification addendum dictated signed attending electronically approved transcribed accession telephone "
    "phone note notes recommendation recommendations recommendation(s)",
}
_BY_WORD = {word: name for name, words in _NAMES.items() for word in words.split()}
_BY_PART = tuple(
    (name, re.compile(part))
    for name, part in (
        ("impression", "impression"),
        ("findings", "finding"),
        ("history", "history"),
        ("indication", "indication|reason for"),
        ("comparison", "comparison"),
    )
)
_VIEWS = re.compile(
    r"\b(pa|ap|portable|supine|upright|erect|semi-?upright|lateral|frontal|single|two|one|views?|chest(?! wall)"
    r"|radiographs?|bedside)\b"
)
_BODY = re.compile(
    r"\b(lungs?|heart|cardiac|cardiomediastin\w+|mediastin\w+|hil(?:um|a|ar)|pleura\w*|bones?|bony|osseous|skeleton"
    r"|soft tissues?|chest wall|lines?|tubes?|devices?|hardware|airways?|trachea|diaphragm|abdomen|other|aorta"
    r"|vascul\w+|spine|ribs?|support\w*|effusions?|pneumothorax)\b"
)
_IN_SMALL_LETTERS = {
    "findings": "findings",
    **dict.fromkeys(("impression", "conclusion"), "impression"),
    **dict.fromkeys(("indication", "reason for exam", "reason for examination"), "indication"),
    **dict.fromkeys(("history", "clinical history"), "history"),
    "comparison": "comparison",
}


@dataclass(frozen=True, slots=True)
class Sections:
    """The sections of a report, each on one line; None where a report has none, or an empty one."""

    findings: str | None = None
    impression: str | None = None
    indication: str | None = None
    comparison: str | None = None


def read_sections(report: str) -> Sections:
    """The sections of a report by the rules of this module; the history stands in for a missing indication."""
    found = {name: text for name, text in _split(report) if text}
    return Sections(
        findings=found.get("findings"),
        impression=found.get("impression"),
        indication=found.get("indication") or found.get("history"),
        comparison=found.get("comparison"),
    )


def _split(report: str) -> list[tuple[str, str]]:
    """The sections in their order, as (name, text on one line); what comes before the first heading is left out."""
    report = _RULE.sub("", report.translate(_CHARACTERS).replace("\r\n", "\n").replace("\r", "\n")).strip("\n")
    if "\n" not in report:
        report = _IN_A_LINE.sub(r"\n\1", _one_line(report))
    found = _HEADING.finditer(report)
    heads = [(name, match) for match in found if (name := _name_of(match[1] or match[2])) is not None]
    ends = [match.start() for _, match in heads[1:]] + [len(report)]
    return [(name, _one_line(report[match.end() : end])) for (name, match), end in zip(heads, ends, strict=False)]


def _one_line(text: str) -> str:
    return " ".join(text.split())


@lru_cache(maxsize=4096)
def _name_of(heading: str) -> str | None:
    """The section that a heading opens; None for one that stands inside a section."""
    words = _one_line(heading.lower())
    if heading != heading.upper():
        return _IN_SMALL_LETTERS.get(words)
    if name := next((name for name, part in _BY_PART if part.search(words)), None):
        return name
    if name := _BY_WORD.get(words.split()[0]):
        return name
    if _BODY.search(words) and not _VIEWS.match(words):
        return None
    return "findings" if _VIEWS.search(words) else "other"
