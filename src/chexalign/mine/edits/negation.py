"""A sentence that states something turned into one that denies it, and back, by a few patterns each."""

from __future__ import annotations

import re
from collections.abc import Callable

from chexalign.mine.edits.places import both, either
from chexalign.mine.edits.words import GRADES, capital, number_of, with_article

_GRADE = rf"(?:(?:{'|'.join(GRADES)})\s+)?"
_SEEN = (
    r"(?:clearly |again |also )?"
    r"(?:seen|noted|visible|present|identified|observed|evident|found|demonstrated|appreciated|detected)"
)
_SIGN = r"(?:(?:clear |definite |radiographic )?(?:evidence|signs?|indication) (?:of|for) )?(?:any |an? )?"
_SHOWS = r"(?:shows?|showed|demonstrates?|reveals?|depicts?|contains?)"
_NEGATIVE = re.compile(r"\b(?:no|not|cannot|without|never|neither|none)\b", re.IGNORECASE)
_CLAUSES = re.compile(r"(,? (?:so|therefore|thus|hence|and|but|because|as|which) )", re.IGNORECASE)
_OPPOSITES = dict(
    (
        *(("normal", "abnormal"), ("abnormal", "normal"), ("unremarkable", "abnormal"), ("without", "with")),
        *(("present", "absent"), ("absent", "present")),
        *(("positive for", "negative for"), ("negative for", "positive for")),
    )
)

Rewrite = Callable[[re.Match[str]], str]


def _first(sentence: str, rules: tuple[tuple[re.Pattern[str], Rewrite], ...]) -> str | None:
    for pattern, rewrite in rules:
        if found := pattern.search(sentence):
            return capital(sentence[: found.start()] + rewrite(found) + sentence[found.end() :])
    return None


def _rule(pattern: str, rewrite: Rewrite) -> tuple[re.Pattern[str], Rewrite]:
    return re.compile(pattern, re.IGNORECASE), rewrite


def _listed(phrase: str) -> str:
    """What "no A or B" denies, as what is there."""
    return " and ".join(map(with_article, re.split(r"\s+(?:or|nor)\s+", phrase)))


def _verb(phrase: str, verb: str) -> str:
    return {"is": "are", "was": "were"}.get(verb.lower(), verb) if re.search(r"\bn?or\b", phrase) else verb


def _opposite(found: re.Match[str]) -> str:
    return f"{found[1]}{_OPPOSITES[found[2].lower()]}"


def _does(found: re.Match[str]) -> str:
    return found[2] if found[1].lower() == "do" else f"{found[2]}s"


_DENY = (
    _rule(rf"^(there (?:is|are|was|were)) (?:an? |some )?{_GRADE}(?!no\b|not\b)", lambda m: f"{m[1]} no "),
    _rule(rf"\b({_SHOWS}) (?:an? |some )?{_GRADE}(?!no\b)(?=\w)", lambda m: f"{m[1]} no "),
    _rule(
        rf"^(?!the |no |this |these |it |they )(?:an? |some )?{_GRADE}(?=[^.,;]*\b(?:is|are|was|were) {_SEEN}\b)",
        lambda m: "no ",
    ),
    _rule(
        r"\b((?:is|are|was|were|appears?|remains?|looks?) )(normal|abnormal|unremarkable|present|absent)\b", _opposite
    ),
    _rule(r"\bcan\b(?! not)", lambda m: "cannot"),
    _rule(r"\b(is|are|was|were|has|have|could|should)\b(?! not)", lambda m: f"{m[1]} not"),
)
_AFFIRM = (
    _rule(rf"^(there (?:is|are|was|were)) no {_SIGN}([^.;]+)", lambda m: f"{m[1]} {_listed(m[2])}"),
    _rule(
        rf"(^|\b(?:and|but|with|so) |, )no {_SIGN}([^.,;]+?) (is|are|was|were|can be)\b",
        lambda m: f"{m[1]}{_listed(m[2])} {_verb(m[2], m[3])}",
    ),
    _rule(rf"^no {_SIGN}([^.;]+)", lambda m: re.sub(r"\s+(?:or|nor)\s+", " and ", m[1])),
    _rule(rf"(\b(?:and|but|with) |, )no {_SIGN}([^.,;]+)", lambda m: f"{m[1]}{_listed(m[2])}"),
    _rule(rf"\b({_SHOWS}) no {_SIGN}([^.;]+)", lambda m: f"{m[1]} {_listed(m[2])}"),
    _rule(r"\b(do|does) not (\w+)", _does),
    _rule(r"\bcannot\b", lambda m: "can"),
    _rule(r"\b(is|are|was|were|has|have|can|could) not (?:any )?", lambda m: f"{m[1]} "),
    _rule(r"()\b(without|absent|negative for)\b", _opposite),
)


def flipped(sentence: str) -> str | None:
    """The sentence with what it denies stated, or with what it states denied; None where no pattern fits.

    >>> flipped("There is a mild pleural effusion on the left."), flipped("No edema is seen.")
    ('There is no pleural effusion on the left.', 'Edema is seen.')
    """
    return _turned(sentence, denied)


def flips(sentence: str) -> list[str]:
    """All ways to turn a sentence: the whole, then one of its clauses, the last one first.

    >>> flips("The ratio is above 0.5, so the heart is enlarged.")[1]
    'The ratio is above 0.5, so the heart is not enlarged.'
    """
    parts = _CLAUSES.split(sentence)
    found = [flipped(sentence)]
    for i in range(len(parts) - 1, -1, -2):
        if len(parts) > 1 and (turned := _turned(parts[i], _clause_denied)) is not None:
            found.append("".join([*parts[:i], turned, *parts[i + 1 :]]))
    return list(dict.fromkeys(text for text in found if text is not None))


def _turned(text: str, deny: Callable[[str], str | None]) -> str | None:
    found = affirmed(text)
    if found is None and not _NEGATIVE.search(text):
        found = deny(text)
    return found[:1].lower() + found[1:] if found is not None and text[:1].islower() else found


def affirmed(sentence: str) -> str | None:
    """The sentence with what it denies stated; None where it denies nothing that a pattern knows."""
    found = _first(sentence, _AFFIRM)
    return None if found is None or found == sentence or _NEGATIVE.search(found) else both(found)


def denied(sentence: str) -> str | None:
    """The sentence with what it states denied; a phrase without a verb gets a "no" before it."""
    found = _clause_denied(sentence)
    if found is None and number_of(sentence) and not re.search(r"\b\w+(?:ed|ing)\b", sentence):
        bare = re.sub(rf"^(?:an? )?{_GRADE}", "", sentence, flags=re.IGNORECASE).lstrip()
        found = either(f"No {bare[:1].lower()}{bare[1:]}")
    return found


def _clause_denied(text: str) -> str | None:
    found = _first(text, _DENY)
    if found is not None and found.startswith("No "):
        found = found[:3] + found[3:4].lower() + found[4:]
    return None if found is None else either(found)
