"""What a language model's reply proposes: an edit in the form of the right answer, or why it is none."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, cast, get_args

from chexalign.data.answers import YES_NO, answer_text, atoms, matches, plain, read_choice, read_set
from chexalign.judges.asking import holds_chat_marks, without_controls
from chexalign.mine.records import Edit, EditKind
from chexalign.types import Question

KEYS = ("answer", "rationale", "edit")
KINDS: tuple[str, ...] = tuple(kind for kind in get_args(EditKind) if kind != "own")

_REASONING = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n\s*```\s*", re.DOTALL)
_ENDS = ".!?"
_END = re.compile(rf"[{_ENDS}]*$")
_NONE = "none"


class _TwiceError(ValueError):
    """A key of a JSON object that is there twice."""


def schema_of(question: Question) -> dict[str, Any]:
    """The `response_format` of a reply: where one of the options is the answer, only wrong ones are allowed."""
    options = _options(question)
    wrong = [option for option in options if option not in question.answers]
    answer: dict[str, Any] = {"type": "string"}
    if question.answer_type in ("verify", "choose") and wrong:
        answer["enum"] = wrong
    properties = {"answer": answer, "rationale": {"type": "string"}, "edit": {"type": "string", "enum": list(KINDS)}}
    schema = {"type": "object", "properties": properties, "required": list(KEYS), "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "counterfactual", "strict": True, "schema": schema}}


def read_reply(text: str, question: Question, *, whole: bool) -> Edit | str:
    """The edit that a reply proposes, or the reason why it proposes none.

    A reply is one JSON object with the keys of `KEYS`, each a string; reasoning in <think> tags before it and a fence
    around it are taken off. Reasons: cut, no_json, wrong_keys, empty, chat_marks, unknown_edit, not_an_option (the
    answer cannot be read), same_answer, answer_not_in_rationale, same_text.
    """
    if not whole:
        return "cut"
    found = _object(text)
    if isinstance(found, str):
        return found
    answer, rationale, kind = (_one_line(found[key]) for key in KEYS)
    if not answer or not rationale or not kind:
        return "empty"
    if holds_chat_marks(answer) or holds_chat_marks(rationale):
        return "chat_marks"
    if kind not in KINDS:
        return "unknown_edit"
    answers = _answers(question, answer)
    if answers is None:
        return "not_an_option"
    if {plain(a) for a in answers} == {plain(a) for a in question.answers}:
        return "same_answer"
    edited = in_form_of(question, answers, rationale)
    if edited is None:
        return "answer_not_in_rationale"
    if plain(edited) == plain(answer_text(question)):
        return "same_text"
    return Edit(edited, cast(EditKind, kind), answers, "llm")


def in_form_of(question: Question, answers: tuple[str, ...], rationale: str) -> str | None:
    """A wrong answer written as `answer_text` writes the right one; None where it would not be read as `answers`.

    Without a rationale of the right answer it is the answers alone. Where the right rationale begins with its answer
    as a sentence, so does the wrong one; its first letter and how it ends are as there too.
    """
    if question.rationale is None:
        return answer_text(replace(question, answers=answers))
    right = question.rationale.strip()
    said, led = _listed(answers, like=right), right.partition(". ")
    if _atoms(question.answers) == set(atoms(led[0])):
        own = re.sub(rf"^{re.escape(said)}\s*(?:[.,:;–-]\s*|$)", "", rationale, count=1, flags=re.IGNORECASE)
        rationale = f"{said}. {_begun(own, like=led[2])}" if led[2].strip() and own else said
    rationale = _begun(rationale.rstrip(_ENDS), like=right) + _END.findall(right)[0]
    return rationale if plain(rationale) and _says(question, rationale, answers) else None


def _says(question: Question, text: str, answers: tuple[str, ...]) -> bool:
    """Whether a text is read as the answers; where not even the right one is, that it is not read as right."""

    def reads(text: str, answers: tuple[str, ...]) -> bool:
        return matches(question.answer_type, text, answers, question.options) is True

    if reads(question.rationale or "", question.answers):
        return reads(text, answers)
    return not reads(text, question.answers)


def _object(text: str) -> dict[str, str] | str:
    """The strings of the reply's object by their keys, or the reason why there is no such object."""
    text = _REASONING.sub("", text, count=1)
    fenced = _FENCE.fullmatch(text)
    try:
        found = json.loads(fenced[1] if fenced else text, object_pairs_hook=_once)
    except _TwiceError:
        return "wrong_keys"
    except (ValueError, RecursionError):
        return "no_json"
    if not isinstance(found, dict):
        return "no_json"
    if found.keys() != set(KEYS) or not all(isinstance(value, str) for value in found.values()):
        return "wrong_keys"
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TwiceError
    return found


def _answers(question: Question, said: str) -> tuple[str, ...] | None:
    """The answers that a reply means, as the options are written; None where that cannot be read."""
    options = _options(question)
    if question.answer_type in ("verify", "choose"):
        chosen = read_choice(said, options)
        return None if chosen is None else (chosen,)
    if options:
        found = read_set(said, options)
        return None if found is None else tuple(option for option in options if option in found)
    if question.answer_type == "query":
        return tuple(dict.fromkeys(atom for atom in atoms(said) if atom != _NONE))
    return (said.rstrip("."),) if plain(said) else None


def _options(question: Question) -> tuple[str, ...]:
    return question.options or (YES_NO if question.answer_type == "verify" else ())


def _atoms(answers: tuple[str, ...]) -> set[str]:
    return {atom for answer in answers or (_NONE,) for atom in atoms(answer)}


def _listed(answers: tuple[str, ...], *, like: str) -> str:
    """The answers as a sentence without its full stop, with "and" where the like of it has one."""
    *first, last = answers or (_NONE,)
    joint = " and " if " and " in like else ", "
    return f"{', '.join(first)}{joint}{last}" if first else last


def _begun(text: str, *, like: str) -> str:
    """The text with a capital or a small letter first, as the like of it has; names in capitals stay."""
    if like[:1].isupper():
        return text[:1].upper() + text[1:]
    return text[:1].lower() + text[1:] if like[:1].islower() and not text[1:2].isupper() else text


def _one_line(text: str) -> str:
    """The text on one line, without what cannot be written to a file."""
    return " ".join(without_controls(text).encode("utf-8", "replace").decode().split())
