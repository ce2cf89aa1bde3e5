"""Counterfactual rationales from a language model behind any server with the OpenAI chat-completions interface."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexalign import ids
from chexalign.engines.endpoint_answer import Call
from chexalign.engines.local_chat import TOO_LONG
from chexalign.errors import UserError
from chexalign.judges.asking import ServedChat, holds_chat_marks
from chexalign.judges.checkpoints import slug
from chexalign.mine.llm.prompt import CounterfactualPrompt, places_of
from chexalign.mine.llm.reply import read_reply, schema_of
from chexalign.mine.llm.store import Reply, ReplyStore
from chexalign.mine.records import Edit, Proposals
from chexalign.privacy import check_license
from chexalign.recipe.engines import EndpointSpec
from chexalign.run_folder import RunFolder
from chexalign.types import Question

_VERSION = "1"  # of how replies are read


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmSettings:
    """How a language model is asked for counterfactual rationales.

    Raises: UserError for settings that cannot be.
    """

    prompt: Path | None = None  # a file, see `CounterfactualPrompt`; None for the packaged one
    temperature: float = 0.7
    max_tokens: int = 512
    n: int = 1  # proposals per question
    tries: int = 3  # of each proposal, until its reply is one
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n < 1 or self.tries < 1 or self.max_tokens < 1 or not 0 <= self.temperature < float("inf"):
            raise UserError(
                f"n {self.n}, tries {self.tries}, max_tokens {self.max_tokens}, temperature {self.temperature:g}",
                "The first three are at least 1, and the temperature is not below 0.",
                "Give such numbers, or leave them out.",
            )
        if self.temperature == 0 and self.n > 1:
            raise UserError(
                f"{self.n} proposals per question at temperature 0",
                "At temperature 0 a model writes the same text each time.",
                "Give a temperature above 0, e.g. 0.7, or n: 1.",
            )


class LlmGenerator:
    """A `Generator` that asks a language model, many questions at the same time, and keeps every reply as it comes.

    A reply that proposes nothing is asked for again with another seed, `tries` times in all (once at temperature 0).
    Then the question has no proposal, and `failed` is the reason most of its proposals ended with: one of those of
    `read_reply`, or prompt_too_long, no_reply (the server failed on it), chat_marks (its texts hold marks of a chat
    format, and are not sent). Cost: `n` to `n * tries` requests per question, none that the store holds.
    """

    def __init__(self, endpoint: EndpointSpec, settings: LlmSettings, *, store: Path) -> None:
        """Nothing is asked yet; `store` is the folder of replies, see `replies_folder`.

        Raises: UserError for a prompt file that cannot be read or is none.
        """
        self.endpoint, self.settings = endpoint, settings
        self._prompt = CounterfactualPrompt.load(settings.prompt)
        how = (self._prompt.digest, settings.temperature, settings.max_tokens, settings.n, settings.tries)
        identity = ids.digest(*how, settings.seed, endpoint.model, endpoint.extra_body, length=8)
        self.version = f"llm@{_VERSION}-{slug(endpoint.model)}-{identity}"
        self._store_folder = store / f"{slug(endpoint.model)}-{self._prompt.digest}"  # a key names the rest
        self._lock = threading.Lock()
        self._chat: ServedChat | None = None
        self._store: ReplyStore | None = None
        self._licenses: set[str] = set()

    def propose(self, questions: Sequence[Question]) -> list[Proposals]:
        """For each question its edits, in the order in which they are to be tried; one text is proposed once.

        Raises: UserError for a license under which a question may not be sent, before any is; and when the server
        answers nothing at all.
        """
        for license in sorted({question.license for question in questions} - self._licenses):
            check_license(self.endpoint.url, license, endpoint_is_mine=self.endpoint.endpoint_is_mine)
            self._licenses.add(license)
        n = self.settings.n
        chat, store = self._open()
        jobs = [(question, index, chat, store) for question in questions for index in range(n)]
        found = chat.client.map(self._proposal, jobs)
        return [_together(found[start : start + n]) for start in range(0, len(found), n)]

    @property
    def usage(self) -> dict[str, Any]:
        """Requests, tokens and failures so far, and what they cost where prices are given."""
        return self._chat.client.usage if self._chat else {}

    def close(self) -> None:
        """Ends what waits for the server, and closes the connections and the store."""
        with self._lock:
            if self._chat is not None:
                self._chat.close()
            if self._store is not None:
                self._store.close()
            self._chat = self._store = None

    def _open(self) -> tuple[ServedChat, ReplyStore]:
        with self._lock:
            if self._chat is None or self._store is None:
                self._chat, self._store = ServedChat(self.endpoint), ReplyStore(self._store_folder)
            return self._chat, self._store

    def _proposal(self, job: tuple[Question, int, ServedChat, ReplyStore]) -> Edit | str:
        """One proposal for a question, or why there is none."""
        question, index, chat, store = job
        if any(holds_chat_marks(text) for text in places_of(question).values()):
            return "chat_marks"
        content = self._prompt.render(question)
        found: Edit | str = "no_reply"
        for attempt in range(self.settings.tries if self.settings.temperature > 0 else 1):
            call = Call(
                [{"role": "user", "content": content}],
                max_tokens=self.settings.max_tokens,
                temperature=self.settings.temperature,
                seed=ids.keyed_seed(self.settings.seed, "counterfactual", question.id, index, attempt),
                response_format=schema_of(question),
            )
            reply = self._reply(call, chat, store)
            if isinstance(reply, str):
                return reply
            found = read_reply(reply.text, question, whole=reply.whole)
            if isinstance(found, Edit):
                break
        return found

    def _reply(self, call: Call, chat: ServedChat, store: ReplyStore) -> Reply | str:
        """The reply to a call, kept or asked for; or why there is none."""
        key = ids.digest(call.body(self.endpoint.model), self.endpoint.extra_body, length=32)
        if kept := store.get(key):
            return kept
        choice = chat.answer(call)
        if isinstance(choice, str):
            return "prompt_too_long" if choice == TOO_LONG else "no_reply"
        reply = Reply(choice.text, choice.finish == "stop")
        store.put(key, reply)
        return reply


def replies_folder(run: RunFolder) -> Path:
    """Where replies are kept: beside the runs, so that another run asks for none of them again."""
    return run.root.parent / ".cache" / "replies"


def _together(found: Sequence[Edit | str]) -> Proposals:
    """The proposals for one question."""
    edits: dict[str, Edit] = {}
    for edit in found:
        if isinstance(edit, Edit):
            edits.setdefault(edit.text, edit)
    reasons = Counter(reason for reason in found if isinstance(reason, str))
    return Proposals(tuple(edits.values()), None if edits else reasons.most_common(1)[0][0])
