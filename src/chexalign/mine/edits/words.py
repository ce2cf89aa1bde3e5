"""The words that edits exchange, and the little grammar that keeps a sentence whole when a finding is exchanged."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from chexalign.data.answers import plain
from chexalign.data.tasks.diseases import FINDINGS as LABELS
from chexalign.judges.chexpert_rules import mentions, sentences
from chexalign.mine.records import EditKind

Number = Literal["count", "mass", "plural"]

# Words of which one stands in the place of another; the first group that holds both tells the kind of an edit.
GROUPS: tuple[tuple[EditKind, tuple[str, ...]], ...] = (
    ("side", ("left", "right", "both sides", "both", "bilateral", "on both sides")),
    ("side", ("left-sided", "right-sided")),
    ("severity", ("mild", "moderate", "severe")),
    ("severity", ("small", "moderate", "large")),
    ("severity", ("minimal", "moderate", "extensive")),
    ("severity", ("slight", "marked")),
    ("severity", ("mildly", "moderately", "severely")),
    ("severity", ("slightly", "markedly")),
    ("location", ("upper", "middle", "lower")),
    ("location", ("apex", "base")),
    ("location", ("apices", "bases")),
    ("location", ("apical", "basal")),
    ("location", ("central", "peripheral")),
    ("change", ("improved", "worsened", "unchanged", "new", "resolved")),
    ("change", ("increased", "decreased", "unchanged")),
    ("change", ("improved", "worsened", "stable", "no change", "unchanged")),
    ("change", ("better", "worse")),
    ("change", ("larger", "smaller")),
)
GRADES = ("mild", "moderate", "severe", "small", "large", "minimal", "extensive", "slight", "marked", "tiny")
FINDINGS = (
    *LABELS,
    *("emphysema", "hiatal hernia", "tortuous aorta", "aortic calcification", "calcified granuloma"),
    *("hyperinflated lungs", "low lung volumes", "elevated diaphragm", "flattened diaphragm"),
)

_MASS = {
    *("edema", "consolidation", "pneumonia", "atelectasis", "cardiomegaly", "emphysema", "thickening", "fibrosis"),
    *("scarring", "calcification", "infiltration", "congestion", "tuberculosis", "hyperinflation", "fluid", "air"),
    *("enlargement", "blunting", "disease", "kyphosis", "scoliosis", "osteopenia", "lymphadenopathy", "material"),
    *("collapse", "pneumomediastinum", "pneumoperitoneum", "engorgement", "hardware", "crowding"),
}
_COUNT = {
    *("opacity", "lesion", "fracture", "device", "aorta", "granuloma", "hernia", "diaphragm", "effusion", "finding"),
    *("pneumothorax", "cardiomediastinum", "abnormality", "nodule", "mass", "infiltrate", "tumor", "cavity", "cyst"),
    *("catheter", "pacemaker", "tube", "line", "implant", "shadow", "silhouette", "drain", "heart", "shift", "artery"),
    *("hemidiaphragm", "plaque", "scar", "process", "port", "stent", "hydropneumothorax", "defect", "deformity"),
}
# Heads that no side of the chest belongs to, and those that nobody grades.
_MIDDLE = {"cardiomegaly", "cardiomediastinum", "aorta", "hernia", "volumes", "lungs", "emphysema", "hyperinflation"}
_UNGRADED = {
    *("device", "fracture", "granuloma", "hernia", "aorta", "diaphragm", "lesion", "nodule", "mass", "volumes"),
    *("lungs", "material", "catheter", "abnormality", "finding", "implant", "tube", "line", "pacemaker", "tumor"),
}
_HEAD_ENDS = re.compile(
    r"\b(?:of|in|on|at|within|inside|where|with|other|along|near|from|to|that|which|as|for|is|are)\b|[,;.]"
)
_EXISTS = re.compile(
    r"(?:\bthere (?:is|are|was|were)|\b(?:shows?|showed|demonstrates?|reveals?|with|suggests?|and))\s+$", re.IGNORECASE
)
_VERB = re.compile(r"\b(?:is|are|was|were|has|have)\b", re.IGNORECASE)
_PLURAL_VERBS = {"is": "are", "was": "were", "has": "have"}
_SPLIT = re.compile(r"((?<=[.!?])\s+|\n+)")


def pieces(text: str) -> list[str]:
    """Sentences at even places and the white space between them at odd ones; joined they are the text.

    >>> pieces("No. It is 1.5 cm.")
    ['No.', ' ', 'It is 1.5 cm.']
    """
    return _SPLIT.split(text)


def kind_of(right: str, wrong: str) -> EditKind | None:
    """What exchanging two answers changes, by the words in which they differ; None where no list has them.

    >>> kind_of("left lower lobe", "right lower lobe"), kind_of("edema", "fracture"), kind_of("frontal", "lateral")
    ('side', 'finding', None)
    """
    one, other = plain(right).split(), plain(wrong).split()
    a, b = (" ".join(w for w in words if w not in rest) for words, rest in ((one, other), (other, one)))
    for kind, group in GROUPS:
        if a in group and b in group:
            return kind
    return "finding" if is_finding(right) and is_finding(wrong) else None


@lru_cache(maxsize=8192)
def is_finding(name: str) -> bool:
    """Whether the words name a finding: of the list, or one that the offline labeler knows."""
    return plain(name) in FINDINGS or any(mentions(sentence) for sentence in sentences(name))


@lru_cache(maxsize=8192)
def head_of(noun: str) -> str:
    """The noun of a phrase, which its number and its place depend on.

    >>> head_of("pleural abnormality other than effusion"), head_of("low lung volumes")
    ('abnormality', 'volumes')
    """
    words = _HEAD_ENDS.split(plain(noun))[0].split()
    return words[-1] if words else ""


@lru_cache(maxsize=8192)
def number_of(noun: str) -> Number | None:
    """How a phrase is counted; None for a word that is not known, whose articles are left as they are."""
    head = head_of(noun)
    if head in _MASS or head in _COUNT:
        return "mass" if head in _MASS else "count"
    return "plural" if re.search(r"[^sui]s$", head) and len(head) > 3 else None


def has_side(finding: str) -> bool:
    """Whether a finding can be on one side, or in one place of the lung."""
    return head_of(finding) not in _MIDDLE and not plain(finding).startswith("aortic")


def has_grade(finding: str) -> bool:
    """Whether a finding is called mild or severe."""
    return head_of(finding) not in _UNGRADED


def a_or_an(phrase: str) -> str:
    """The article before a phrase, by its first letter."""
    return "an" if phrase[:1].lower() in set("aeiou") else "a"


def with_article(phrase: str) -> str:
    """The phrase with "a" or "an" where it is counted; as it is otherwise."""
    return f"{a_or_an(phrase)} {phrase}" if number_of(phrase) == "count" else phrase


def capital(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def capital_if(text: str, needed: bool) -> str:
    """The text with a capital at its beginning where it is needed."""
    return capital(text) if needed else text


def cased(word: str, like: str) -> str:
    """The word with a capital at its beginning where another one has it; an abbreviation's capitals say nothing."""
    abbreviated = len(like.strip()) > 1 and like.isupper()
    return capital(word) if like[:1].isupper() and not abbreviated else word


def whole(words: Iterable[str]) -> re.Pattern[str]:
    """Any of the words as whole words, the longest first."""
    return _whole(tuple(words))


@lru_cache(maxsize=8192)
def _whole(words: tuple[str, ...]) -> re.Pattern[str]:
    options = "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w)))
    return re.compile(rf"(?<!\w)(?:{options})(?!\w)", re.IGNORECASE)


def exchanged(text: str, one: str, other: str) -> str:
    """The text with two words or phrases in each other's place, with the articles that fit.

    >>> exchanged("An opacity on the left, not on the right.", "left", "right")
    'An opacity on the right, not on the left.'
    """
    if not (one.strip() and other.strip()):
        return text

    def put(found: re.Match[str]) -> str:
        new = other if whole([one]).fullmatch(found[2]) else one
        if found[1] is None:
            return cased(new, found[2]) if text[: found.start()].strip() else capital_if(new, found[2][:1].isupper())
        return f"{cased(a_or_an(new), found[1])}{found[1].lstrip('aAnN')}{new}"

    return re.compile(rf"(?<!\w)(an?\s+)?({whole([one, other]).pattern})", re.IGNORECASE).sub(put, text)


def exchanged_findings(text: str, one: str, other: str) -> str:
    """The same for two findings, of which one may be counted and the other not, or plural.

    >>> exchanged_findings("Edema. There is mild edema.", "edema", "low lung volumes")
    'Low lung volumes. There are low lung volumes.'
    """
    if not (one.strip() and other.strip()):
        return text
    return "".join(
        piece if i % 2 else _exchanged_in_sentence(piece, one, other) for i, piece in enumerate(pieces(text))
    )


def _exchanged_in_sentence(sentence: str, one: str, other: str) -> str:
    noun = re.compile(
        rf"(?<!\w)(?P<article>(?:an?|the|no)\s+)?(?P<grade>(?:{'|'.join(GRADES)})\s+)?"
        rf"(?P<noun>{whole([one, other]).pattern})",
        re.IGNORECASE,
    )
    done, rest = "", sentence
    while found := noun.search(rest):
        old, new = (one, other) if whole([one]).fullmatch(found["noun"]) else (other, one)
        before, after = done + rest[: found.start()], rest[found.end() :]
        phrase = _phrase(found, old, new, before, after)
        if (number_of(old) == "plural") != (number_of(new) == "plural") and number_of(new) and number_of(old):
            before, after = _agreeing(before, after, plural=number_of(new) == "plural")
        done, rest = before + phrase, after
    return done + rest


def _phrase(found: re.Match[str], old: str, new: str, before: str, after: str) -> str:
    article, grade = (found["article"] or "").strip().lower(), (found["grade"] or "").strip().lower()
    words = f"{grade} {new}" if grade and has_grade(new) else new
    if number_of(new) is None:
        article = a_or_an(words) if article in ("a", "an") else article
    elif article not in ("the", "no"):
        there = article or (number_of(old) != "count" and (_EXISTS.search(before) or _subject(before, after)))
        article = a_or_an(words) if number_of(new) == "count" and there else ""
    return cased(f"{article} {words}".strip(), found[0])


def _subject(before: str, after: str) -> bool:
    return not before.strip() and _VERB.search(after) is not None


def _agreeing(before: str, after: str, *, plural: bool) -> tuple[str, str]:
    verbs = _PLURAL_VERBS if plural else {many: one for one, many in _PLURAL_VERBS.items()}

    def turn(found: re.Match[str]) -> str:
        return cased(verbs.get(found[0].lower(), found[0]), found[0])

    if re.search(r"\bthere (?:is|are|was|were)\s+$", before, re.IGNORECASE):
        return re.sub(r"\w+(?=\s+$)", turn, before), after
    return before, after if before.strip() else _VERB.sub(turn, after, count=1)
