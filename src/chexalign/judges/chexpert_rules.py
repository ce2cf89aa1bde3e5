"""How the rule labeler reads one sentence: findings in order, with what denies or doubts each of them.

One regular expression (`EVENT`) walks over the sentence; a small state decides what each event means:

- a denial or a doubt holds for every finding after it, across commas and "or", to the end of its clause;
- a clause ends at "but", "there is" and their like; at "with", "the heart" or "stable ..." once the cue has met a
  finding; and at a verb whose subject stands after the denied findings ("no effusion, the heart is enlarged");
- "... is not seen", "... has resolved" and "... cannot be excluded" turn the findings before them, back to the last
  verb;
- "enlarged", "normal", "blunted" say something only with their subject: the one before them, else the next one.

Where commas are lost, "no opacity large effusion" is read as one list of denied findings; the text does not tell.
"""

from __future__ import annotations

import re
from functools import lru_cache

from chexalign.judges.chexpert_terms import EVENT, EVENT_NAMES, STATEMENTS

_BORDER = re.compile(r"[.;!?]+(?=\s|$)|\n\s*\n|\n(?=\s*(?:[-*•]|\d+[.)]))")
_BRACKETED = re.compile(r"\[.*?\]|\*\*", re.DOTALL)
_BLANK = str.maketrans("-/\u2013_", "    ")

_FILLER = re.compile(r"[,&]|\b(?:and|or|the|of|is|are)\b")
_UNSAID = 9  # the polarity after "evaluation for": what follows is asked, not said

Mention = tuple[str, int]  # (label, value): 1 stated, 0 denied, -1 uncertain
Span = tuple[int, int]  # where the words begin and end in the sentence


def sentences(text: str) -> list[str]:
    """The sentences of a report, in lower case, with `-` and `/` as blanks and single blanks between words.

    A sentence ends at `.`, `;`, `!` or `?` before a blank, at an empty line, and before a list item; a line
    that merely wraps does not end it.
    """
    text = _BRACKETED.sub("", text).lower().replace("?", " is questioned.")  # "effusion?" doubts like the phrase
    parts = _BORDER.split(text)
    return [sentence for part in parts if (sentence := " ".join(part.translate(_BLANK).split()))]


@lru_cache(maxsize=65536)
def mentions(sentence: str) -> tuple[Mention, ...]:
    """Every label that the sentence mentions, in order, each with 1 (stated), 0 (denied) or -1 (uncertain)."""
    reader = _read(sentence)
    return tuple(zip(reader.labels, reader.values, strict=True))


def placed_mentions(sentence: str) -> list[tuple[Mention, Span]]:
    """The same as `mentions`, each with the place of the words that it was read from."""
    reader = _read(sentence)
    return list(zip(zip(reader.labels, reader.values, strict=True), reader.spans, strict=True))


def _read(sentence: str) -> _Reader:
    reader = _Reader(sentence)
    for match in EVENT.finditer(sentence):
        kind, name = EVENT_NAMES[match.lastgroup or ""]
        reader.at = match.span()
        getattr(reader, kind)(name, match)
    return reader


class _Reader:
    """The state between two words of a sentence."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        self.labels: list[str] = []
        self.values: list[int] = []
        self.spans: list[Span] = []
        self.at: Span = (0, 0)  # of the words that are read
        self.last_end = -9  # where the last finding ended
        self.new_clause()

    def new_clause(self) -> None:
        """Forget what was denied, what it was said about, and what a word that follows may still turn."""
        self.polarity = 1
        self.since_cue = 0  # findings read since the last cue
        self.turnable: list[int] = []  # mentions that "... is not seen" may still turn
        self.subjects: list[str] = []
        self.described = False  # the subjects have got their attribute
        self.subject_end = 0
        self.cue_in_subject = False
        self.verb_in_subject = False
        self.after_comma = False
        self.ahead: tuple[str, int] | None = None  # an attribute that waits for its subject

    def record(self, label: str, value: int) -> None:
        """Note one mention, unless the text only asks for it."""
        self.since_cue += 1
        if self.polarity == _UNSAID:
            return
        self.turnable.append(len(self.labels))
        self.labels.append(label)
        self.values.append(value)
        self.spans.append(self.at)

    def ignored(self, _name: str, _match: re.Match[str]) -> None:
        """Phrases that only look like a cue or a finding."""

    def finding(self, name: str, match: re.Match[str]) -> None:
        """A finding named outright; a group may name two, joined by `+`."""
        for label in name.split("+"):
            self.record(label, self.polarity)
        self.last_end = match.end()
        self.ahead = None
        self.subjects = []  # "heart is normal, effusion has increased" says nothing more about the heart

    def sign(self, name: str, match: re.Match[str]) -> None:
        """A sign of a finding: uncertain unless denied."""
        self.record(name, -1 if self.polarity else 0)
        self.last_end = match.end()

    def denied_only(self, name: str, match: re.Match[str]) -> None:
        """A phrase too wide to state the finding, though its denial denies it."""
        if self.polarity == 0:
            self.finding(name, match)

    def subject(self, name: str, match: re.Match[str]) -> None:
        """What an attribute may be said of; subjects joined by commas and "and" share one attribute."""
        between = self.sentence[max(self.last_end, 0) : match.start()]
        bare = between == " " and name in ("heart", "both", "lungs")  # "no effusion heart enlarged"
        if self.since_cue and (bare or between.endswith("the ")):
            self.new_clause()
        if self.described or len(_FILLER.sub(" ", self.sentence[self.subject_end : match.start()]).split()) > 2:
            self.subjects, self.described = [], False
        if not self.subjects:
            self.cue_in_subject = self.verb_in_subject = False
        self.subjects.append(name)
        self.subject_end, self.after_comma = match.end(), False
        if self.ahead:
            self.state(name, *self.ahead)

    def attribute(self, name: str, match: re.Match[str]) -> None:
        """A property: said of the subjects before it, else kept for the next one."""
        if name == "borderline" and self.polarity == 1:  # "borderline enlarged" is a doubt as well
            self.polarity = -1
        if not self.subjects or (self.after_comma and not self.verb_in_subject):
            self.ahead = (name, self.polarity)
            return
        for subject in self.subjects:
            self.state(subject, name, self.polarity)
        self.described = True
        self.last_end = match.end()

    def state(self, subject: str, attribute: str, polarity: int) -> None:
        """Record what an attribute of a subject says; a denied attribute denies its labels."""
        for label, value in STATEMENTS.get((subject, attribute), ()):
            if polarity == 0:
                if value:  # "not normal" is no statement about one label
                    self.record(label, 0)
            else:
                self.record(label, -1 if value and polarity < 0 else value)

    def cue(self, name: str, match: re.Match[str]) -> None:
        getattr(self, f"cue_{name}")(match)

    def cue_absent(self, _match: re.Match[str]) -> None:
        """Deny what follows."""
        self.polarity, self.since_cue, self.cue_in_subject, self.ahead = 0, 0, True, None

    def cue_uncertain(self, _match: re.Match[str]) -> None:
        """Doubt what follows."""
        if self.polarity or self.since_cue:  # "no evidence to suggest" stays a denial
            self.polarity, self.since_cue = -1, 0

    def turn(self, value: int) -> None:
        """Give the findings before a cue another value."""
        for index in self.turnable:
            self.values[index] = value
        self.turnable = []

    def cue_absent_after(self, _match: re.Match[str]) -> None:
        self.turn(0)

    def cue_uncertain_after(self, _match: re.Match[str]) -> None:
        self.turn(-1)

    def cue_gone(self, match: re.Match[str]) -> None:
        """Deny the findings before "resolved" or "removed", or those after it where none stands before."""
        if self.turnable:
            self.turn(0)
        else:
            self.cue_absent(match)

    def cue_break(self, _match: re.Match[str]) -> None:
        self.new_clause()

    def cue_soft_break(self, _match: re.Match[str]) -> None:
        if self.since_cue:
            self.new_clause()
        self.subjects = []

    def cue_fresh(self, match: re.Match[str]) -> None:
        """End a denial at "stable", "small", "left" and their like, right behind a denied finding."""
        if not self.since_cue or self.last_end < 0:
            return
        between = self.sentence[self.last_end : match.start()]
        listed = "," in between and " or " in self.sentence[match.end() :]  # "no effusion, mild edema, or nodule"
        if between in (" ", ", ", " and ", ", and ") and not listed:
            self.new_clause()

    def cue_verb(self, _match: re.Match[str]) -> None:
        """End a denial that stands before the verb's own subject, and close what a later cue may turn."""
        if self.subjects and not self.described and not self.cue_in_subject:
            self.polarity, self.since_cue = 1, 0
        self.turnable = []
        self.ahead = None
        self.verb_in_subject = True

    def cue_comma(self, _match: re.Match[str]) -> None:
        self.ahead = None
        self.after_comma = True

    def cue_hypothetical(self, _match: re.Match[str]) -> None:
        """Pass over what is looked for: "evaluation for effusion"."""
        self.polarity, self.since_cue = _UNSAID, 0

    def cue_within_limits(self, match: re.Match[str]) -> None:
        """Read as "is normal", and as a denial of a finding right before it."""
        if self.labels and self.last_end == match.start() - 1:
            self.values[-1] = 0
        self.cue_verb(match)
        self.attribute("normal", match)
