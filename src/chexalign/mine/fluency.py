"""Whether a text reads as a person would write it: cheap checks of its grammar, and how probable a policy finds it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from chexalign.mine.edits.words import GRADES, number_of, pieces
from chexalign.policy.base import Ask, Reads

_DOUBLED = re.compile(r"\b(\w+)\s+\1\b", re.IGNORECASE)
_TWICE_DENIED = re.compile(
    r"\b(?:no|not|without|never|cannot)\b[^.,;:!?]*\b(?:no|not|without|never|cannot)\b", re.IGNORECASE
)
_ARTICLE = re.compile(r"\b(an?)\s+([\w-]+)", re.IGNORECASE)
_PHRASE = re.compile(
    rf"\b(?P<there>there (?:is|are)\s+)?(?P<article>an?\s+)?(?:(?:{'|'.join(GRADES)})\s+)?"
    r"(?P<noun>[a-z-]+(?:\s+[a-z-]+){0,2})",
    re.IGNORECASE,
)
_SPACING = re.compile(r"\s[,.;:!?](?=\s|$)|[,;:]{2,}|\.{2}(?!\.)|[^\S\n]{2,}|\(\s|\s\)")
_SOUNDS_OTHERWISE = re.compile(r"(?:u(?:ni|s[ei]|r[ie])|eu|one\b|hour|honest|x-?ray|mri|[fhlmnrsx]\b)", re.IGNORECASE)
_BRACKETS = ("()", "[]", "{}")


@dataclass(frozen=True, slots=True)
class Heard:
    """How a policy finds a text as an answer: the mean log-prob of a token in nats, and how many tokens it has."""

    mean_logp: float
    n_tokens: int


def faults(text: str) -> Counter[str]:
    """How often a text has each fault that a rule can see; what no rule sees is not looked for.

    >>> dict(faults("There is a opacity opacity."))
    {'article': 1, 'doubled': 1}
    """
    found = Counter[str]()
    found["article"] = sum(_wrong_article(m[1], m[2]) for m in _ARTICLE.finditer(text)) + _of_nouns(text)
    found["doubled"] = len(_DOUBLED.findall(text))
    found["denied_twice"] = len(_TWICE_DENIED.findall(text))
    found["spacing"] = len(_SPACING.findall(text))
    found["capital"] = sum(piece[:1].islower() for piece in pieces(text)[::2])
    found["bracket"] = sum(abs(text.count(pair[0]) - text.count(pair[1])) for pair in _BRACKETS)
    found["empty"] = not text.strip()
    return Counter({name: int(n) for name, n in found.items() if n})


def has_more_faults(text: str, than: str) -> bool:
    """Whether a text has a fault more often than another one, whose own faults are its style."""
    return bool(faults(text) - faults(than))


def hear(policy: Reads, asks: Sequence[Ask], texts: Sequence[Sequence[str]]) -> list[list[Heard]]:
    """How a policy finds the texts as answers to what is asked, one list for each ask.

    Cost: one forward pass for each distinct text. Raises: AskError as `Reads.read` does.
    """
    return [
        [Heard((completion.sum_logp or 0.0) / max(completion.n_tokens, 1), completion.n_tokens) for completion in group]
        for group in policy.read(asks, texts)
    ]


def _wrong_article(article: str, word: str) -> bool:
    if len(word) < 2 or _SOUNDS_OTHERWISE.match(word):
        return False
    return (article.lower() == "an") != (word[0].lower() in "aeiou")


def _of_nouns(text: str) -> int:
    """How often "a" stands before what is not counted, or "there is" before a plural."""
    wrong = 0
    for found in _PHRASE.finditer(text):
        if found["article"] or found["there"]:
            number = _number(found["noun"])
            wrong += bool(found["article"]) and number in ("mass", "plural")
            there = (found["there"] or "").lower().split()
            wrong += (
                bool(there)
                and number is not None
                and not found["article"]
                and (there[1] == "are") != (number == "plural")
            )
    return wrong


def _number(noun: str) -> str | None:
    """Of the longest beginning of the words that is known."""
    words = noun.split()
    known = [n for n in (number_of(" ".join(words[:size])) for size in range(len(words), 0, -1)) if n is not None]
    return known[0] if known else None
