"""How judges that are language models ask: many rows at once, each row's failure its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chexalign import ids
from chexalign.engines.endpoint import Client
from chexalign.engines.endpoint_answer import Call, Choice
from chexalign.engines.endpoint_errors import TooLongError
from chexalign.engines.local_chat import TOO_LONG
from chexalign.errors import UserError
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.texts import without_words
from chexalign.recipe.engines import EndpointSpec

_HARMLESS = Call([{"role": "user", "content": "Say yes."}], max_tokens=1)
_PLACE = re.compile(r"\{\{ ?(candidate|reference) ?\}\}|\{(candidate|reference)\}")
_CHAT_MARKS = re.compile(r"<\|[^<>|\s]{1,40}\|>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")


class Chat(Protocol):
    """A chat model that answers calls: `ServedChat`, or `engines.local_chat.LocalChat`."""

    def answers(self, calls: Sequence[Call]) -> list[Choice | str]:
        """For each call, in order, its answer, or as a text why there is none."""
        ...

    def close(self) -> None:
        """Ends what waits, and lets go of what it holds."""
        ...


class ServedChat:
    """A chat model behind a server, which any number of threads may ask: together they keep its `concurrency`."""

    def __init__(self, spec: EndpointSpec) -> None:
        self.client = Client(spec)

    def answers(self, calls: Sequence[Call]) -> list[Choice | str]:
        """For each call, in order, what `answer` returns of it."""
        return self.client.map(self.answer, calls)

    def close(self) -> None:
        """Lets what waits fail, and closes the connections."""
        self.client.close()

    def answer(self, call: Call) -> Choice | str:
        """The answer to one call, or as a text why there is none.

        A call that fails for good is followed by a harmless one: if that fails too, the trouble is not the row's.
        Raises: UserError when the server answers nothing at all.
        """
        try:
            return self.client.ask(call, fatal=False).choices[0]
        except TooLongError:
            return TOO_LONG
        except UserError as e:
            self.client.ask(_HARMLESS)
            return e.what


def holds_chat_marks(text: str) -> bool:
    """True for a text with marks that part the turns of a chat, by which it could speak for somebody else."""
    return _CHAT_MARKS.search(text) is not None


def without_controls(text: str) -> str:
    """The text without control characters other than blanks and line ends."""
    return _CONTROLS.sub("", text)


def unasked(pair: TextPair, *, of_empty: float | None) -> Judgement | None:
    """What is said of a pair that no model needs to see; None for any other.

    An empty reference is an error, and an empty candidate has the value `of_empty`, or is an error where no value is
    surely the lowest. Texts that hold marks of a chat format are refused, since they could speak for the judge.
    """
    if found := without_words(pair, of_empty=of_empty):
        return found
    for name, text in (("candidate", pair.candidate), ("reference", pair.reference)):
        if holds_chat_marks(text):
            return Judgement(None, status="refused", reason=f"the {name} holds marks of a chat format")
    return None


def score_each(
    chat: Callable[[], Chat],
    pairs: Sequence[TextPair],
    *,
    call: Callable[[TextPair], Call],
    read: Callable[[str, bool], Judgement],
    of_empty: float | None,
) -> list[Judgement]:
    """One judgement per pair, each distinct pair asked about once; without an open pair no model is asked for.

    `call` is the request about a pair, and `read` the judgement by an answer's text and whether it is whole.
    """
    known = {pair: unasked(pair, of_empty=of_empty) for pair in pairs}
    open_ = [pair for pair, judgement in known.items() if judgement is None]
    answers = chat().answers([call(pair) for pair in open_]) if open_ else []
    for pair, answer in zip(open_, answers, strict=True):
        if isinstance(answer, str):
            known[pair] = Judgement(None, status="error", reason=answer)
        else:
            known[pair] = read(answer.text, answer.finish == "stop")
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
        return _PLACE.sub(lambda place: without_controls(texts[place[1] or place[2]]), self.text)

    @property
    def digest(self) -> str:
        """Eight hex digits that name the wording."""
        return ids.digest(self.text, length=8)
