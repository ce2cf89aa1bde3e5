"""How a question is asked with its options, and how a free answer is read: what cannot be read is None, never a guess.

An answer is read when it says which option it means in a form that means nothing else: the option's letter, as in
"(B)", "B." or "Answer: B", or its text, whole. Words inside other words count for nothing: there is no "no" in
"abnormality". Two letters, or a letter with the text of another option, say nothing.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from chexalign import ids
from chexalign.data.templates import TEMPLATES
from chexalign.types import AnswerType, Question

YES_NO = ("yes", "no")

_MULTIPLE_CHOICE = TEMPLATES["multiple_choice@1"].wordings[0].text
_LETTERS = string.ascii_uppercase
_NOTHING = "none"
_NONE = {_NOTHING, "nothing", "n/a", "none of them", "none of these", "none of the above", "no finding", "no findings"}

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_MARKUP = re.compile(r"[*`]+")
_EDGES = " \t\n\r.,;:!?\"'“”‘’()[]"
_LEAD = re.compile(
    r"^\s*(?:the\s+)?(?:final\s+|correct\s+|best\s+|right\s+)?(?:answer|option|choice)\s*(?:is\b\s*:?|:)\s*",
    re.IGNORECASE,
)
_STOP = r"(?=\s*(?:[.,;:)\n]|$))"
_LETTER_FORMS = (
    re.compile(r"(?<![\w)])\(([A-Z])\)"),
    re.compile(r"^\s*([A-Z])" + _STOP),
    re.compile(r"\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)(?:\s+is\b)?\s*:?\s*([A-Z])" + _STOP),
)
_LONE_LETTER = re.compile(r"\(?([A-Za-z])\)?[.:]?")
_LETTER_LIST = re.compile(r"\(?[A-Z]\)?(?:\s*(?:,|;|&|/|and\b|or\b|\s)+\(?[A-Z]\)?)*\.?")
_DENIED = re.compile(r"\b(?:not|neither|nor|than|except|exclude)\s+(?:option\s+|answer\s+)?\(?[A-Z]\b", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-•–]|\d{1,2}[.)])\s+", re.MULTILINE)
_ATOM_ENDS = re.compile(r"[,;\n]|\.(?=\s|$)|\band\b|&")


def plain(text: str) -> str:
    """The text for comparison: lower case, one blank between words, no punctuation at the edges.

    >>> plain(" **Left** side. ")
    'left side'
    """
    text = unicodedata.normalize("NFKC", _MARKUP.sub("", text)).casefold()
    return " ".join(text.split()).strip(_EDGES)


def ordered(question: Question, order: int) -> Question:
    """The question with its options in another order; order 0 is as it stands.

    The order of a number follows from the question's id alone, so that every policy is asked in the same way.
    """
    if order == 0:
        return question
    keyed = sorted(enumerate(question.options), key=lambda o: ids.digest("options", question.id, order, o[0]))
    return replace(question, options=tuple(option for _, option in keyed))


def ask_text(question: Question) -> str:
    """What a policy is asked: CheXbench's form where one of the options is right, a list where any number may be.

    Source: get_prompt of evaluation_chexbench in github.com/Stanford-AIMI/CheXagent, for the first.
    """
    options = question.options
    if question.answer_type in ("verify", "choose") and 1 < len(options) <= len(_LETTERS):
        letters = [f"({letter})" for letter in _LETTERS[: len(options)]]
        listed = ", ".join(f"{letter} {option}" for letter, option in zip(letters, options, strict=True))
        return _MULTIPLE_CHOICE.format(question=question.text, options=listed, letters=", ".join(letters))
    if options:
        how = "every option that applies, or none" if question.answer_type == "query" else "one option"
        return f"{question.text}\nOptions: {'; '.join(options)}\nDirectly answer the question with {how}."
    return question.text


def answer_text(question: Question) -> str:
    """The right answer as a policy is to write it: its rationale, or the answers, a choice with its letter.

    What is written is read as right by `matches`.
    """
    if question.rationale is not None:
        return question.rationale
    if question.answer_type in ("verify", "choose") and len(question.options) > 1 and len(question.answers) == 1:
        return f"({_LETTERS[question.options.index(question.answers[0])]}) {question.answers[0]}"
    return ", ".join(question.answers) or _NOTHING


def read_choice(text: str, options: Sequence[str]) -> str | None:
    """The one option that an answer means, or None.

    >>> read_choice("(B) right", ["left", "right"]), read_choice("No abnormality.", ["yes", "no"])
    ('right', None)
    """
    text = _answer(text)
    letters = _letters(text, len(options))
    whole = _whole(text, options)
    if whole is not None:
        lone = _LONE_LETTER.fullmatch(text) is not None and letters is not None
        return None if lone and [options[place] for place in letters or ()] != [whole] else whole
    if letters is None or len(letters) > 1:
        return None
    if not letters:
        return _first_sentence(text, options)
    option = options[letters.pop()]
    rest = _without_letters(text)
    besides = _whole(rest, options) or _first_sentence(rest, options)
    return option if besides in (None, option) else None


def read_set(text: str, options: Sequence[str]) -> frozenset[str] | None:
    """All options that an answer lists, by letters or by texts; None where it says anything else besides.

    >>> sorted(read_set("Edema and left, small effusion", ["edema", "left, small effusion", "mass"]))
    ['edema', 'left, small effusion']
    """
    text = _answer(text)
    if plain(text) in _NONE and plain(text) not in map(plain, options):
        return frozenset()
    if _LETTER_LIST.fullmatch(text) and _whole(text, options) is None:
        letters = _letters(text, len(options))
        return frozenset(options[place] for place in letters) if letters else None
    return _listed(atoms(text), options)


def matches(answer_type: AnswerType, text: str, answers: Sequence[str], options: Sequence[str] = ()) -> bool | None:
    """Whether an answer is right; None where it cannot be read, which is not the same as wrong."""
    read = read_as(answer_type, text, options)
    return None if read is None else is_right(answer_type, read, answers, options)


def read_as(answer_type: AnswerType, text: str, options: Sequence[str] = ()) -> tuple[str, ...] | None:
    """What an answer says: the options that it means, or where there are none, its words, plain.

    Without options, a verify question is read as yes or no, a query as a list, an open one as the text that it is.
    None where it cannot be read; an empty answer never can.
    """
    if answer_type == "verify" or (answer_type == "choose" and options):
        chosen = read_choice(text, options or YES_NO)
        return None if chosen is None else (chosen,)
    if options:
        found = read_set(text, options)
        return None if found is None else tuple(sorted(found))
    words = _answer(text)
    if answer_type != "query":
        return (plain(words),) if plain(words) else None
    listed = tuple(dict.fromkeys(atoms(words)))
    return () if plain(words) in _NONE else listed or None


def is_right(answer_type: AnswerType, read: Sequence[str], answers: Sequence[str], options: Sequence[str] = ()) -> bool:
    """Whether what an answer says, as `read_as` gives it, is what is right."""
    said = {plain(one) for one in read}
    if answer_type == "query" and not options:
        return said == {atom for answer in answers for atom in atoms(answer)}
    right = {plain(answer) for answer in answers}
    if answer_type in ("verify", "choose") or options:
        return said == right
    return said <= right | {plain(", ".join(answers))}


def atoms(text: str) -> list[str]:
    """The items of a list in words, plain: what commas, semicolons, lines, full stops and "and" part.

    >>> atoms("- Edema, small effusion and a mass.")
    ['edema', 'small effusion', 'a mass']
    """
    text = _BULLET.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return [atom for part in _ATOM_ENDS.split(text) if (atom := plain(part))]


def _answer(text: str) -> str:
    """The part of a text that answers: what stands between <answer> tags, where there is one such part."""
    tagged = _TAGGED.findall(text)
    return _MARKUP.sub("", tagged[0] if len(tagged) == 1 else text).strip()


def _letters(text: str, n: int) -> set[int] | None:
    """The places of the options whose letters the text names; None where it denies one, or there is none such."""
    if _DENIED.search(text):
        return None
    lone = _LONE_LETTER.fullmatch(text)
    if lone:
        found = {lone[1].upper()}
    elif _LETTER_LIST.fullmatch(text):
        found = set(re.findall(r"\b[A-Z]\b", text))
    else:
        found = {letter for form in _LETTER_FORMS for letter in form.findall(text)}
    places = {_LETTERS.index(letter) for letter in found}
    return places if all(place < n for place in places) else None


def _without_letters(text: str) -> str:
    for form in _LETTER_FORMS:
        text = form.sub(" ", text)
    return text


def _whole(text: str, options: Sequence[str]) -> str | None:
    """The option that is the whole text, "the answer is" before it or not."""
    by_text = _by_text(tuple(options))
    return by_text.get(plain(text)) or by_text.get(plain(_LEAD.sub("", text)))


def _first_sentence(text: str, options: Sequence[str]) -> str | None:
    """The option that the first sentence is, while none of the others is another one."""
    by_text = _by_text(tuple(options))
    ends = r"[.\n,]" if by_text.keys() <= set(YES_NO) else r"[.\n]"
    sentences = [sentence for part in re.split(ends, _LEAD.sub("", text)) if (sentence := plain(part))]
    said = {sentence for sentence in sentences if sentence in by_text}
    return by_text[sentences[0]] if len(said) == 1 and sentences[0] in said else None


@lru_cache(maxsize=4096)
def _by_text(options: tuple[str, ...]) -> dict[str, str | None]:
    """The option of each plain text; None where two options have it."""
    found: dict[str, str | None] = {}
    for option in options:
        found[plain(option)] = None if plain(option) in found else option
    return {text: option for text, option in found.items() if text}


def _listed(items: Sequence[str], options: Sequence[str]) -> frozenset[str] | None:
    """The options that a list is made of, all of its items used; an option may itself be several items."""
    cut = sorted(((atoms(option), option) for option in options), key=lambda pair: -len(pair[0]))
    reached: dict[int, frozenset[str]] = {0: frozenset()}
    for at in range(len(items)):
        if at not in reached:
            continue
        for parts, option in cut:
            if parts and list(items[at : at + len(parts)]) == parts:
                reached.setdefault(at + len(parts), reached[at] | {option})
    return reached.get(len(items)) if items else None
