"""How judges that are language models ask their server: many rows at once, each row's failure its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexalign import ids
from chexalign.engines.endpoint import Client
from chexalign.engines.endpoint_answer import Call
from chexalign.engines.endpoint_errors import TooLongError
from chexalign.errors import UserError
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.texts import without_words
from chexalign.recipe_engines import EndpointSpec

_HARMLESS = Call([{"role": "user", "content": "Say yes."}], max_tokens=1)
_PLACE = re.compile(r"\{\{ ?(candidate|reference) ?\}\}|\{(candidate|reference)\}")
_CHAT_MARKS = re.compile(r"<\|[^<>|\s]{1,40}\|>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call has no answer."""

    reason: str


def endpoint_spec(judge: str, options: dict[str, Any]) -> EndpointSpec:
    """The server that a judge's options describe.

    Raises: UserError for an option that is missing, unknown or of the wrong kind.
    """
    from pydantic import ValidationError

    try:
        return EndpointSpec(**options)
    except ValidationError as e:
        first = e.errors(include_input=False, include_url=False)[0]
        known = ", ".join(EndpointSpec.model_fields)
        raise UserError(
            f"judge {judge}: the option {'.'.join(map(str, first['loc']))}",
            f"{first['msg']}; besides the judge's own, the options of a server are: {known}.",
            "A judge that is a model behind a server needs at least `url` and `model`.",
        ) from None


def ask_each(client: Client, calls: Sequence[Call]) -> list[tuple[str, bool] | Failure]:
    """For each call the text of the answer and whether it is whole, or why there is none; in order.

    A call that fails for good is followed by a harmless one: if that fails too, the trouble is not the row's.
    Raises: UserError when the server answers nothing at all.
    """

    def one(call: Call) -> tuple[str, bool] | Failure:
        try:
            choice = client.ask(call, fatal=False).choices[0]
        except TooLongError:
            return Failure("the prompt does not fit into the model's context")
        except UserError as e:
            client.ask(_HARMLESS)
            return Failure(e.what)
        return choice.text, choice.finish == "stop"

    return client.map(one, calls)


def unasked(pair: TextPair, *, of_empty: float | None) -> Judgement | None:
    """What is said of a pair that no model needs to see; None for any other.

    An empty reference is an error, and an empty candidate has the value `of_empty`, or is an error where no value is
    surely the lowest. Texts that hold marks of a chat format are refused, since they could speak for the judge.
    """
    if found := without_words(pair, of_empty=of_empty):
        return found
    for name, text in (("candidate", pair.candidate), ("reference", pair.reference)):
        if _CHAT_MARKS.search(text):
            return Judgement(None, status="refused", reason=f"the {name} holds marks of a chat format")
    return None


def score_each(
    client: Callable[[], Client],
    pairs: Sequence[TextPair],
    *,
    call: Callable[[TextPair], Call],
    read: Callable[[str, bool], Judgement],
    of_empty: float | None,
) -> list[Judgement]:
    """One judgement per pair, each distinct pair asked about once; without an open pair no client is made.

    `call` is the request about a pair, and `read` the judgement by an answer's text and whether it is whole.
    """
    known = {pair: unasked(pair, of_empty=of_empty) for pair in pairs}
    open_ = [pair for pair, judgement in known.items() if judgement is None]
    answers = ask_each(client(), [call(pair) for pair in open_]) if open_ else []
    for pair, answer in zip(open_, answers, strict=True):
        if isinstance(answer, Failure):
            known[pair] = Judgement(None, status="error", reason=answer.reason)
        else:
            known[pair] = read(*answer)
    return [judgement for pair in pairs if (judgement := known[pair]) is not None]


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A prompt with places for the two texts: `{candidate}` and `{reference}`, or `{{ candidate }}` and so on.

    Nothing else in it is read, so that other braces may stand in it, as those of JSON do.
    """

    text: str

    def __post_init__(self) -> None:
        found = sorted(a or b for a, b in _PLACE.findall(self.text))
        if found != ["candidate", "reference"]:
            raise UserError(
                f"A prompt with these places for texts: {', '.join(found) or 'none'}.",
                "The judge compares one candidate with one reference, so each has one place.",
                "Write {candidate} and {reference}, once each.",
            )

    @staticmethod
    def load(path: str | Path) -> PromptFile:
        """The prompt in a file.

        Raises: UserError when the file cannot be read, or has no place for each of the two texts.
        """
        try:
            return PromptFile(Path(path).expanduser().read_bytes().decode())  # as it is, line ends included
        except (OSError, UnicodeDecodeError) as e:
            raise UserError(
                f"The prompt file {path} cannot be read.",
                "It is no file here, or no text in UTF-8.",
                "Give the path of a text file with {candidate} and {reference} in it.",
            ) from e

    def render(self, candidate: str, reference: str) -> str:
        """The prompt about two texts, which are put in as they are, without control characters."""
        texts = {"candidate": candidate, "reference": reference}
        return _PLACE.sub(lambda place: _CONTROLS.sub("", texts[place[1] or place[2]]), self.text)

    @property
    def digest(self) -> str:
        """Eight hex digits that name the wording."""
        return ids.digest(self.text, length=8)


def slug(model: str) -> str:
    """A model's name as it stands in a version: without its owner, and without what parts names."""
    return re.sub(r"[^\w.]+", "-", model.rpartition("/")[2]).strip("-") or "model"
