"""GREEN: a language model that counts the errors of a report, and other models that are asked alike."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Literal

from chexalign.engines.endpoint_answer import Call
from chexalign.engines.local_chat import Dtype
from chexalign.errors import UserError
from chexalign.judges.asking import PromptFile
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.chat_judge import ChatJudge
from chexalign.judges.green_parse import SECTIONS, Compat, Parsed, green_compat, parse_green
from chexalign.judges.texts import Preparation

_WORDS = 300  # of each report, from its start
_OFFICIAL = Path(__file__).with_name("children") / "green_official.py"
_PACKAGE = Path(__file__).parents[1]
_RECIPES = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")  # of an installed package, of a source tree


class GreenJudge(ChatJudge):
    """GREEN by a GREEN model: matched findings / (matched findings + significant errors), in [0, 1].

    Greedy, with the official prompt and the first 300 words of each report. The prompt is to be followed by an empty
    turn of the assistant, as those models were used: recipes/chat_templates/green.jinja writes it. A server has to be
    started with that template; with `folder` it takes the place of the tokenizer's own. Parts: `matched`,
    `n_significant`, `n_insignificant`, the counts by kind `significant.a` to `insignificant.f` (a false finding,
    b missing finding, c place, d severity, e false comparison, f missing comparison), and `compat`, what the official
    code makes of the answer. Notes hold the answer and its sentences. An answer in which a section is missing or
    malformed is unparsed (`green_parse.parse_green` has the rule), one cut at `max_new_tokens` too. What cannot be
    asked is an error of its row. An empty candidate scores 0 unasked.

    Source: Ostmeier et al. 2024 (arXiv:2405.03595); green-score 0.0.12.
    """

    name = "green"
    describe: ClassVar[dict[str, str]] = {
        "license": "that of the model",
        "needs": "a GREEN model in a `folder` or behind a server (`url`, `model`); its prompt: `template` or `python`",
        "cost": "about 2.2 to 2.7 s per report with 7B in fp16 on one A100, unbatched (published)",
    }
    _dtype: ClassVar[Dtype] = "fp16"  # as in the official code

    def __init__(
        self,
        *,
        template: str | None = None,
        python: str | None = None,
        empty_turn: Literal["template", "message"] = "template",
        texts: Preparation = "clean",
        max_new_tokens: int = 1024,
        **model: Any,
    ) -> None:
        """Nothing is asked yet.

        `template` is a file with the prompt, `{reference}` and `{candidate}` in it; `python` is the interpreter of an
        environment with the official package, which is asked for it. `empty_turn` says who adds it: the chat template,
        or a message from here, for servers whose template is their own; llama.cpp then makes another prompt of it.
        `texts` says whether reports are cleaned first, as CheXalign does. `model` says where it is, see `ChatJudge`.
        Raises: UserError for options that are missing or wrong, and a prompt that is not GREEN's.
        """
        if empty_turn not in ("template", "message"):
            raise TypeError(f"{self.name} with empty_turn {empty_turn}")
        self._prompt, self._empty_turn = self._find_prompt(template, python), empty_turn
        wording = (self._prompt.text, texts, max_new_tokens, empty_turn)
        super().__init__(texts=texts, max_new_tokens=max_new_tokens, wording=wording, model=model)

    def _call(self, pair: TextPair) -> Call:
        messages = [{"role": "user", "content": self._prompt.render(_cut(pair.candidate), _cut(pair.reference))}]
        if self._empty_turn == "message":
            messages.append({"role": "assistant", "content": ""})
        return Call(messages, max_tokens=self._max_tokens)

    def _read(self, answer: str, whole: bool) -> Judgement:
        parsed, official = parse_green(answer), _compat(answer)
        compat = {"compat": official.value} if official else {}
        reason = parsed.reason if whole else f"the answer was cut at {self._max_tokens} tokens"
        if reason is not None:
            return Judgement(None, compat, "unparsed", reason, {"answer": answer})
        return Judgement(parsed.value, _parts(parsed) | compat, notes={"answer": answer, **_sentences(parsed)})

    def _find_prompt(self, template: str | None, python: str | None) -> PromptFile:
        if (template is None) == (python is None):
            raise UserError(
                f"judge {self.name} with {'both' if template else 'neither'} of the options template and python",
                "The official prompt is not part of this package; it comes from one of two places.",
                "Give `template`, a file that holds it, or `python`, an interpreter that can import green_score.",
            )
        prompt = PromptFile.load(template) if template else PromptFile(_ask_official(str(python)))
        check_green_prompt(prompt)
        return prompt

    def _chat_template(self) -> str | None:
        places = (folder / "chat_templates/green.jinja" for folder in _RECIPES)
        return next(place for place in places if place.is_file()).read_text("utf-8")


class GreenCompatJudge(GreenJudge):
    """GREEN as the official code scores it: whatever it does not understand of an answer counts as 0.

    Asks and caches as `green` does, and scores by `green_parse.green_compat`; never unparsed, so that a malformed
    answer may score 0 or 1. For comparison with published numbers; use `green` to label.
    """

    name = "green_compat"

    def _read(self, answer: str, whole: bool) -> Judgement:
        found = _compat(answer)
        if found is None:
            return Judgement(None, status="error", reason="a count has too many digits", notes={"answer": answer})
        counts = {name: dict(zip("abcdef", getattr(found, name), strict=True)) for name in _ERRORS}
        parsed = Parsed(None, found.matched, counts["significant"], counts["insignificant"])
        return Judgement(found.value, _parts(parsed), notes={"answer": answer})


class GreenStyleJudge(GreenJudge):
    """The count of GREEN by any chat model, with this package's own wording of the task; not comparable to GREEN.

    Parts, notes and rules are those of `green`. `template` replaces the wording.
    """

    name = "green_style"
    describe: ClassVar[dict[str, str]] = {
        "license": "that of the model",
        "needs": "a chat model in a `folder` or behind a server (`url`, `model`)",
        "cost": "one answer of about 200 tokens per report",
    }
    _dtype: ClassVar[Dtype] = "bf16"

    def _find_prompt(self, template: str | None, python: str | None) -> PromptFile:
        if python is not None:
            raise TypeError("green_style has no option python")
        if template is None:
            return PromptFile(
                resources.files("chexalign.judges").joinpath("prompts/green_style.txt").read_text("utf-8")
            )
        return PromptFile.load(template)

    def _chat_template(self) -> str | None:
        return None  # any model, so its own


_ERRORS = ("significant", "insignificant")


def check_green_prompt(prompt: PromptFile) -> None:
    """Raises: UserError when the prompt has not the parts of GREEN's, in their order."""
    kinds = [f"{letter}) " for letter in "abcdef"]
    marks = [*kinds, "reference}", "candidate}", "[Explanation]:", *(f"[{title}]:" for title in SECTIONS.values())]
    at = 0
    for mark in marks:
        at = prompt.text.replace(" }}", "}").find(mark, at)
        if at < 0:
            raise UserError(
                f"The prompt of judge green has no `{mark.strip()}`, or not in GREEN's order.",
                "The models know one prompt: kinds of error a) to f), the reference, the candidate, four sections.",
                "Give the prompt of green-score as it is; judge green_style takes one of your own.",
            )


def _ask_official(python: str) -> str:
    """The official prompt with places for the texts, from the package in another environment."""
    from chexalign.engines.child import Child

    with Child(python, _OFFICIAL) as child:
        found = child.ask([{"reference": "{{ reference }}", "candidate": "{{ candidate }}"}])[0]
    if isinstance(found, str):
        raise UserError(
            f"The prompt of judge green could not be had from {python}.",
            f"{found}.",
            "Install green-score there (its pins do not matter for the prompt), or give `template`, a file with it.",
        )
    return str(found["prompt"])


def _compat(answer: str) -> Compat | None:
    """What the official code reads; None where it fails, on counts of hundreds of digits."""
    try:
        found = green_compat(answer)
        float(max(found.matched, *found.significant, *found.insignificant))
    except (ValueError, OverflowError):
        return None
    return found


def _cut(text: str) -> str:
    return " ".join(text.split()[:_WORDS])


def _parts(parsed: Parsed) -> dict[str, float]:
    counts = {name: getattr(parsed, name) for name in _ERRORS}
    totals = {"matched": parsed.matched, **{f"n_{name}": sum(count.values()) for name, count in counts.items()}}
    return {
        **{name: float(n) for name, n in totals.items()},
        **{f"{name}.{letter}": float(n) for name, count in counts.items() for letter, n in count.items()},
    }


def _sentences(parsed: Parsed) -> dict[str, str]:
    listed = {**parsed.sentences, **({"matched": parsed.findings} if parsed.findings else {})}
    return {name: "; ".join(texts) for name, texts in listed.items()}
