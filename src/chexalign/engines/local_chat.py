"""A language model in a folder as a chat: asked in this process, greedily, in batches of like length."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from chexalign.engines.device import device_here, is_out_of_memory
from chexalign.engines.endpoint_answer import Call, Choice
from chexalign.errors import UserError

Dtype = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
TOO_LONG = "the prompt does not fit into the model's context"
_NO_ROOM = "the memory does not hold the model with this prompt"


@dataclass(frozen=True, slots=True)
class LocalChatSpec:
    """A causal language model in Hugging Face format on this machine, and how it is run.

    `chat_template` is the text of a template in place of the tokenizer's own; `device` None takes a GPU where there is
    one, another in each worker process.
    Raises: UserError when the folder holds no model, or a value cannot be.
    """

    folder: Path
    dtype: Dtype
    batch_size: int = 16
    device: str | None = None
    chat_template: str | None = None

    def __post_init__(self) -> None:
        if not (self.folder / "config.json").is_file():
            raise UserError(
                f"The folder {self.folder} holds no model in Hugging Face format.",
                "There is no config.json in it, and nothing is downloaded.",
                "Give the folder of a downloaded model, with its tokenizer.",
            )
        if self.dtype not in _DTYPES or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise UserError(
                f"A model in a folder with dtype {self.dtype} and batch_size {self.batch_size}.",
                f"The number formats are {', '.join(_DTYPES)}, and a batch holds a prompt at least.",
                "Give e.g. dtype: bf16 and batch_size: 16.",
            )


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A call as the model reads it: its place among the calls, its tokens, and how many may follow."""

    index: int
    tokens: list[int]
    room: int


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model and its tokenizer in memory."""

    model: Any
    tokenizer: Any
    stops: tuple[int, ...]  # tokens that end an answer
    begin: tuple[int, ...]  # the token that the tokenizer begins a text with, if it does
    window: int | None  # tokens of prompt and answer that the model takes, where its configuration says


class LocalChat:
    """Answers calls by the model of a folder, which is read at the first call.

    Greedy, whatever the checkpoint's own settings for generation are, so of a call only `messages` and `max_tokens`
    are read. Batches are padded on the left, and padding is masked; another batch size can move logits in their last
    bits, in bf16 and fp16 more than in fp32, so an answer differs where two tokens are equal to that. When memory runs
    out the batch is halved for good.
    """

    def __init__(self, spec: LocalChatSpec) -> None:
        self.spec = spec
        self.batch_size = spec.batch_size

    def answers(self, calls: Sequence[Call]) -> list[Choice | str]:
        """For each call, in order, its answer, or as a text why there is none.

        An answer is cut (`finish` "length") at `max_tokens`, or where the model's context ends.
        Raises: UserError when the model cannot be loaded, or its chat template cannot be used.
        """
        window = self._loaded.window
        found: dict[int, Choice | str] = {}
        prompts: list[_Prompt] = []
        for index, call in enumerate(calls):
            tokens = self._tokens(call)
            room = call.max_tokens if window is None else min(call.max_tokens, window - len(tokens))
            if room < 1:
                found[index] = TOO_LONG
            else:
                prompts.append(_Prompt(index, tokens, room))
        prompts.sort(key=lambda p: (-p.room, -len(p.tokens), p.index))
        for _, alike in itertools.groupby(prompts, key=lambda p: p.room):  # so that no row goes on beyond its context
            found.update(self._in_batches(list(alike)))
        return [found[index] for index in range(len(calls))]

    def close(self) -> None:
        """Lets go of the model, which is read again when it is needed."""
        self.__dict__.pop("_loaded", None)

    @cached_property
    def _loaded(self) -> _Loaded:
        return _load(self.spec)

    def _in_batches(self, prompts: list[_Prompt]) -> dict[int, Choice | str]:
        found: dict[int, Choice | str] = {}
        size = self.batch_size
        while prompts:  # longest first: what does not fit is found out at once
            batch = prompts[:size]
            choices = self._unless_too_much(batch)
            if choices is None and len(batch) > 1:
                size = len(batch) // 2
                continue
            if choices is None:  # it is this prompt that is too much, and the others need not pay for it
                found[batch[0].index], size = _NO_ROOM, self.batch_size
            else:
                found.update(zip((p.index for p in batch), choices, strict=True))
                self.batch_size = size
            prompts = prompts[len(batch) :]
        return found

    def _unless_too_much(self, batch: Sequence[_Prompt]) -> list[Choice] | None:
        """The answers, or None when memory ran out; it is free again then."""
        try:
            return self._generate(batch)
        except (RuntimeError, MemoryError) as e:
            if not is_out_of_memory(e):
                raise
        _free_memory()  # outside of the handler, whose traceback holds what filled it
        return None

    def _generate(self, batch: Sequence[_Prompt]) -> list[Choice]:
        """Greedy answers to prompts that all have the same room."""
        import torch
        from transformers import GenerationConfig

        model, stops = self._loaded.model, list(self._loaded.stops)
        width = max(len(p.tokens) for p in batch)
        ids = torch.full((len(batch), width), stops[0], dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, p in enumerate(batch):
            ids[row, width - len(p.tokens) :] = torch.tensor(p.tokens)
            mask[row, width - len(p.tokens) :] = 1
        settings = GenerationConfig(
            do_sample=False, max_new_tokens=batch[0].room, eos_token_id=stops, pad_token_id=stops[0]
        )
        inputs = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
        with torch.inference_mode():
            out = model.generate(**inputs, generation_config=settings)
        return [self._choice(row) for row in out[:, width:].tolist()]

    def _choice(self, tokens: list[int]) -> Choice:
        end = next((i for i, token in enumerate(tokens) if token in self._loaded.stops), None)
        text = self._loaded.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return Choice(text, "length" if end is None else "stop", len(tokens) if end is None else end + 1, None)

    def _tokens(self, call: Call) -> list[int]:
        """The chat and the header of the answer as token ids; all marks in it are the template's."""
        import jinja2

        given, tokenizer = self.spec.chat_template, self._loaded.tokenizer
        # A template from elsewhere does not know whether this tokenizer begins a text with a token of its own; that is
        # put before the tokens, as the tokenizer does it, since one in the text can change how the next word is cut.
        begin, without = (list(self._loaded.begin), {"bos_token": ""}) if given else ([], {})
        messages = [dict(message) for message in call.messages]
        try:
            text = tokenizer.apply_chat_template(
                messages, chat_template=given, tokenize=False, add_generation_prompt=True, **without
            )
        except (ValueError, jinja2.TemplateError) as e:
            raise UserError(
                f"The chat template of the model in {self.spec.folder} cannot be used ({type(e).__name__}).",
                "The tokenizer has none, or it does not take these messages.",
                "Give `chat_template`, a file with the one that the model's card tells.",
            ) from e
        return [*begin, *tokenizer(text, add_special_tokens=False)["input_ids"]]


def _load(spec: LocalChatSpec) -> _Loaded:
    import torch
    from transformers import AutoTokenizer, GenerationConfig

    offline: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(spec.folder, **offline)
        kind = _kind_of_model(spec.folder)
        model: Any = kind.from_pretrained(spec.folder, dtype=getattr(torch, _DTYPES[spec.dtype]), **offline)
        model = model.eval().to(spec.device or device_here())
    except Exception as e:  # they raise whatever their readers raise: of JSON, of safetensors, of tokenizers
        raise _unreadable(spec, e) from e
    told = model.generation_config.eos_token_id
    stops = dict.fromkeys([*(told if isinstance(told, list) else [told]), tokenizer.eos_token_id])
    stops.pop(None, None)
    if not stops:
        raise UserError(
            f"The model in {spec.folder} names no token that ends an answer.",
            "Neither its generation_config.json nor its tokenizer does, so no answer would ever be whole.",
            "Add eos_token_id to the generation_config.json of the folder.",
        )
    model.generation_config = GenerationConfig()  # else what it says of sampling or repetition would be mixed in
    first = tuple(tokenizer("a")["input_ids"][:1])
    begin = first if first == (tokenizer.bos_token_id,) else ()
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return _Loaded(model, tokenizer, tuple(stops), begin, window)


def _kind_of_model(folder: Path) -> Any:
    """The Auto class that loads the model: a language model, or a vision-language model that is shown no image."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    text_only = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    return transformers.AutoModelForCausalLM if text_only else transformers.AutoModelForImageTextToText


def _unreadable(spec: LocalChatSpec, e: Exception) -> UserError:
    if is_out_of_memory(e):
        return UserError(
            f"The model in {spec.folder} does not fit into memory in {spec.dtype}.",
            "Its weights alone are larger than what is free.",
            "Use a larger device, dtype: bf16, or a server that spreads the model.",
        )
    first = str(e).strip().splitlines()[:1]
    return UserError(
        f"The model in {spec.folder} cannot be read ({type(e).__name__}).",
        first[0][:300] if first else "A file is missing or damaged.",
        "Give a causal language model with its tokenizer, of a kind that transformers knows without code of its own.",
    )


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
