"""Any transformers image-text-to-text model, through its own processor and chat template."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image

from chexalign import atomic
from chexalign.errors import UserError
from chexalign.policy.base import Ask, AskError, Completion, Decoding, Precision
from chexalign.policy.choose import Row
from chexalign.policy.decode import decode
from chexalign.policy.families import family_of
from chexalign.policy.memory import bytes_per_prompt, free_bytes
from chexalign.policy.native import forbid, load_config, load_processor, makes_prompts
from chexalign.policy.processor import PROCESSOR_FILES, Parts, check_processor, encode_parts, render
from chexalign.policy.reading import reading
from chexalign.types import Finish

T = TypeVar("T")

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_MOST = 256  # prompts in a batch, however much memory there is: more of them are no faster
# What Pillow raises for files that are no images, or no longer whole.
_UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)


class HFPolicy:
    """A checkpoint folder in Hugging Face format, loaded for inference.

    On the device "meta" it has no weights, and can encode and be measured only.
    """

    def __init__(
        self, folder: Path, *, precision: Precision = "fp32", device: str = "cpu", compiled: bool = False
    ) -> None:
        check_folder(folder)
        self.folder = folder
        with reading("configuration", folder):
            config = load_config(folder, weights=device != "meta")
        with reading("processor", folder):
            self.processor: Any = load_processor(folder, config)
        check_processor(self.processor, config, folder)
        self.precision = precision
        with reading("weights", folder):
            self.model: Any = _load(folder, config, _DTYPES[precision], device)
        if precision == "fp16" and (why := family_of(self.model).no_fp16) is not None:
            raise UserError(f"The model in {folder} is asked to compute in float16.", why, "Use bf16, or fp32.")
        if compiled:
            decoder = self.model.get_decoder()
            decoder.forward = torch.compile(decoder.forward, dynamic=True)
        self.tokenizer: Any = self.processor.tokenizer
        self.tokenizer.padding_side = "left"
        self.banned = forbid(self.model, self.tokenizer)

    def render(self, ask: Ask) -> str:
        """The text of an ask with the generation header, as both training and inference use it."""
        return render(self.processor, ask.prompt, n_images=len(ask.images))

    def encode(self, asks: Sequence[Ask]) -> dict[str, torch.Tensor]:
        """Model inputs for a batch of asks, left-padded.

        Raises: AskError when the image of one cannot be read, or its text holds marks that images alone may have.
        """
        images = [_usable("image_unreadable", i, _open_all, ask) for i, ask in enumerate(asks)]
        texts = [_usable("prompt_unusable", i, self.render, ask) for i, ask in enumerate(asks)]
        if isinstance(self.processor, Parts):
            return encode_parts(family_of(self.model), self.processor, texts, images)
        batch = self.processor(
            text=texts,
            images=images if any(images) else None,
            padding=True,
            return_tensors="pt",
            add_special_tokens=False,
        )
        return dict(batch)

    def generate(
        self, asks: Sequence[Ask], *, decoding: Decoding, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        """For each ask one completion per seed; the images and the prompt of an ask are run once for all its seeds."""
        stop_id = self.model.generation_config.eos_token_id
        inputs = self._inputs(asks, decoding)
        rows = decode(self.model, inputs, seeds=seeds, decoding=decoding, stop_id=stop_id, banned=self.banned)
        return [[self._completion(row) for row in group] for group in rows]

    def read(self, asks: Sequence[Ask], texts: Sequence[Sequence[str]]) -> list[list[Completion]]:
        """For each ask its texts as completions that the policy did not write, with their log-probs, end token counted.

        The images and the prompt of an ask are run once for all its texts, of which it has at least one.
        Raises: AskError as `generate` does.
        """
        most, stop_id = max(map(len, texts)), self.model.generation_config.eos_token_id
        end = stop_id if isinstance(stop_id, int) else stop_id[0]
        ids = [[(*self.tokenizer(t, add_special_tokens=False)["input_ids"], end) for t in row] for row in texts]
        filled = [row + row[-1:] * (most - len(row)) for row in ids]  # a batch has as many for every ask
        decoding = Decoding(max(len(text) for row in ids for text in row))
        inputs = self._inputs(asks, decoding)
        seeds = [[0] * most] * len(asks)
        rows = decode(self.model, inputs, seeds=seeds, decoding=decoding, stop_id=stop_id, texts=filled)
        return [
            [Completion(text, len(row.tokens), row.sum_logp, "stop") for text, row in zip(wanted, found, strict=False)]
            for wanted, found in zip(texts, rows, strict=True)
        ]

    def batch_size(self, ask: Ask, *, decoding: Decoding, draws: int) -> int:
        """How many asks like this one fit into the memory that is free, reckoned from the model's config."""
        tokens = self.encode([ask])["input_ids"].shape[1]
        each = bytes_per_prompt(
            self.model.config,
            tokens=tokens,
            draws=draws,
            new_tokens=decoding.max_new_tokens,
            itemsize=self.model.dtype.itemsize,
        )
        return max(1, min(_MOST, free_bytes(self.model.device) // each))

    def sampler(self, decoding: Decoding) -> str:
        """The engine, the precision where it is not float32, and how tokens are chosen."""
        top_k = "" if decoding.top_k is None else f" top_k={decoding.top_k}"
        precision = "" if self.precision == "fp32" else f" {self.precision}"
        return f"local{precision} T={decoding.temperature} top_p={decoding.top_p}{top_k}"

    def _inputs(self, asks: Sequence[Ask], decoding: Decoding) -> dict[str, torch.Tensor]:
        """Model inputs where the model is and in its precision.

        Raises: AskError when one cannot be read, or is too long for the model.
        """
        inputs = self.encode(asks)
        window = family_of(self.model).context
        for index, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
            if window is not None and length + decoding.max_new_tokens > window:
                raise AskError(
                    _too_long(length, decoding.max_new_tokens, window), index=index, reason="prompt_too_long"
                )
        return {
            name: value.to(self.model.device, self.model.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }

    def _completion(self, row: Row) -> Completion:
        finish: Finish = "stop" if row.stopped else "length"
        text = self._text(row.tokens)
        if row.logps is None:
            return Completion(text.strip(), len(row.tokens), row.sum_logp, finish)
        return Completion(
            text.strip(), len(row.tokens), row.sum_logp, finish, tuple(row.logps), token_texts(row.tokens, self._text)
        )

    def _text(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text


def token_texts(tokens: Sequence[int], decode: Callable[[Sequence[int]], str]) -> tuple[str, ...]:
    """The characters that each token adds to the text; joined they are the text of all.

    Where a character is made of several tokens the last of them has it, so a text is read as far as it no longer
    changes when more tokens come.
    Cost: one decoding per token, each of all tokens up to there.
    """
    whole, found, length = decode(tokens), list[str](), 0
    for end in range(1, len(tokens) + 1):
        text = decode(tokens[:end]) if end < len(tokens) else whole
        unlike = (i for i, (a, b) in enumerate(zip(text, whole, strict=False)) if a != b)
        reached = max(length, next(unlike, min(len(text), len(whole))))
        found.append(whole[length:reached])
        length = reached
    return tuple(found)


def _load(folder: Path, config: Any, dtype: torch.dtype, device: str) -> Any:
    from transformers import AutoModelForImageTextToText

    if device == "meta":
        with torch.device("meta"):
            return AutoModelForImageTextToText.from_config(config, dtype=dtype)
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).eval().to(device)


def save_checkpoint(model: Any, processor: Any, folder: Path, weights: dict[str, torch.Tensor] | None = None) -> None:
    """Writes model and processor in Hugging Face format; the folder counts as finished only with its manifest.

    `weights` stand in for those of a model that holds only a shard of them.
    Raises: UserError when the disk is full or the folder cannot be written.
    """
    from safetensors import SafetensorError

    with atomic.explained(folder):
        try:
            model.save_pretrained(folder, state_dict=weights)
            processor.save_pretrained(folder)
        except SafetensorError as e:  # what a full disk looks like from safetensors
            if "No space left" in str(e):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from e
            raise


def _open_all(ask: Ask) -> list[Image.Image]:
    return [open_image(path) for path in ask.images]


def _usable(reason: str, index: int, work: Callable[[Ask], T], ask: Ask) -> T:
    """What the work makes of an ask; its errors are told as those of the ask alone."""
    try:
        return work(ask)
    except UserError as e:
        raise AskError(e, index=index, reason=reason) from e


def _too_long(length: int, new_tokens: int, window: int) -> UserError:
    return UserError(
        f"A prompt has {length} tokens with its images, and {new_tokens} more are asked for.",
        f"The model's context holds {window}.",
        "Lower policy.max_images or the longest completion (max_new_tokens).",
    )


def open_image(path: Path) -> Image.Image:
    """The image as RGB.

    Raises: UserError when there is no file, or no image in it.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError as e:
        raise UserError(
            f"The image {path} is missing.",
            "A policy that is trained or asked without its image would write reports from the prompt alone.",
            "Put the file back, or delete the run's images and studies folders to have them made again.",
        ) from e
    except _UNREADABLE as e:
        raise UserError(
            f"The image {path} cannot be read ({type(e).__name__}).",
            "It is cut short, damaged, of an unknown format, or closed to this user.",
            "Replace the file, or delete the run's images and studies folders to have them made again.",
        ) from e


def check_folder(folder: Path) -> None:
    """Raises: UserError when the folder holds no checkpoint with a processor."""
    missing = [name for name in ("config.json",) if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in PROCESSOR_FILES) and not makes_prompts(folder):
        missing.append(PROCESSOR_FILES[0])
    if missing:
        raise UserError(
            f"The model folder {folder} lacks {' and '.join(missing)}.",
            "A policy is a Hugging Face checkpoint: model and processor in one folder.",
            "Give policy.model a folder that save_pretrained wrote for both, or 'tiny' for the embedded default.",
        )
