"""Any chat model as a judge, by a prompt in a file and a place in the answer where the score stands."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from chexalign.engines.endpoint_answer import Call
from chexalign.errors import UserError
from chexalign.judges.asking import PromptFile
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.chat_judge import ChatJudge
from chexalign.judges.texts import Preparation

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


class LLMJudge(ChatJudge):
    """A chat model, asked with a prompt of yours; the value is in [0, 1], from `worst` to `best`.

    Greedy. The score is what a regular expression finds in the answer, or what stands at a path in its JSON. An answer
    without it, with several that differ, with one beyond `worst` and `best`, or cut at `max_new_tokens`, is unparsed.
    Parts: `raw`, the score as the model gives it. Notes hold the answer. An empty candidate scores 0 unasked. A
    request that fails for good makes its row an error.
    """

    name = "llm"
    describe: ClassVar[dict[str, str]] = {
        "license": "that of the model",
        "needs": "a chat model in a `folder` or behind a server (`url`, `model`), `prompt`, `pattern` or `json_path`, "
        "`worst`, `best`",
        "cost": "one answer per report",
    }

    def __init__(
        self,
        *,
        prompt: str,
        worst: float,
        best: float,
        pattern: str | None = None,
        json_path: str | None = None,
        texts: Preparation = "clean",
        max_new_tokens: int = 512,
        **model: Any,
    ) -> None:
        r"""Nothing is asked yet.

        `prompt` is a file with `{candidate}` and `{reference}` in it; `pattern` a regular expression whose group is
        the score, as `Score: (\d+)`; `json_path` names keys and indexes with dots between them, as `result.score`;
        `model` says where the model is, see `ChatJudge`.
        Raises: UserError for options that are missing or wrong.
        """
        self._prompt, self._worst, self._best = PromptFile.load(prompt), float(worst), float(best)
        self._pattern, self._path = _compile(pattern, json_path), (json_path or "").split(".")
        if not math.isfinite(self._best - self._worst) or self._worst == self._best:
            raise UserError(
                f"judge llm with worst {worst:g} and best {best:g}",
                "The model's score is read on the scale between them.",
                "Give the scores that the prompt asks for, e.g. worst: 1 and best: 5, or worst: 10 and best: 0.",
            )
        wording = (self._prompt.text, pattern, json_path, self._worst, self._best, texts, max_new_tokens)
        super().__init__(texts=texts, max_new_tokens=max_new_tokens, wording=wording, model=model)

    def _call(self, pair: TextPair) -> Call:
        content = self._prompt.render(pair.candidate, pair.reference)
        return Call([{"role": "user", "content": content}], max_tokens=self._max_tokens)

    def _read(self, answer: str, whole: bool) -> Judgement:
        found = _matches(self._pattern, answer) if self._pattern else _at(self._path, answer)
        if not whole:
            found = f"the answer was cut at {self._max_tokens} tokens"
        elif not isinstance(found, str) and not min(self._worst, self._best) <= found <= max(self._worst, self._best):
            found = "the score is beyond worst and best"
        if isinstance(found, str):
            return Judgement(None, {}, "unparsed", found, {"answer": answer})
        value = (found - self._worst) / (self._best - self._worst)
        return Judgement(value, {"raw": found}, notes={"answer": answer})


def _compile(pattern: str | None, json_path: str | None) -> re.Pattern[str] | None:
    """The regular expression; None where a path is given instead."""
    problem = "exactly one of `pattern` and `json_path` says where the score stands"
    if (pattern is None) != (json_path is None):
        if pattern is None:
            return None
        try:
            compiled = re.compile(pattern)
            if compiled.groups == 1:
                return compiled
            problem = f"the pattern has {compiled.groups} groups, and one of them is the score"
        except re.error as e:
            problem = f"the pattern is no regular expression ({e.msg} at {e.pos})"
    raise UserError(
        "judge llm cannot read a score",
        f"{problem[0].upper()}{problem[1:]}.",
        r"Give e.g. pattern: 'Score: (\d+)', or json_path: score.",
    )


def _matches(pattern: re.Pattern[str], answer: str) -> float | str:
    """The number that the pattern finds, or why there is none."""
    found = {match[1] or "" for match in pattern.finditer(answer)}
    if not found:
        return "the pattern is not in the answer"
    if not all(_NUMBER.fullmatch(text.strip()) for text in found):
        return "what the pattern finds is no number"
    numbers = {float(text) for text in found}
    return numbers.pop() if len(numbers) == 1 else "the pattern finds several scores"


def _at(path: Sequence[str], answer: str) -> float | str:
    """The number at a path in the JSON of the answer, or why there is none."""
    start = answer.find("{")
    try:
        found = json.JSONDecoder().raw_decode(answer, start)[0] if start >= 0 else None
    except (ValueError, RecursionError):
        found = None
    if found is None:
        return "the answer holds no JSON object"
    for key in path:
        if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        elif isinstance(found, dict) and key in found:
            found = found[key]
        else:
            return "the JSON of the answer has nothing at json_path"
    try:
        number = math.nan if isinstance(found, bool) or not isinstance(found, int | float) else float(found)
    except OverflowError:
        number = math.inf
    return number if math.isfinite(number) else "what stands at json_path is no number"
