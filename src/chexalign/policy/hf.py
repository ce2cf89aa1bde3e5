"""Any transformers image-text-to-text model, through its own processor and chat template."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from chexalign import atomic
from chexalign.errors import UserError
from chexalign.policy.base import Ask, Completion, Decoding
from chexalign.policy.decode import Row, decode

# What Pillow raises for files that are no images, or no longer whole.
_UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)


class HFPolicy:
    """A checkpoint folder in Hugging Face format, loaded for inference in float32 on the CPU."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

        check_folder(folder)
        self.folder = folder
        self.processor: Any = AutoProcessor.from_pretrained(folder)
        check_processor(self.processor, AutoConfig.from_pretrained(folder), folder)
        self.model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer: Any = self.processor.tokenizer
        self.tokenizer.padding_side = "left"

    def render(self, ask: Ask) -> str:
        """The text of an ask with the generation header, as both training and inference use it."""
        return render(self.processor, ask.prompt, n_images=len(ask.images))

    def encode(self, asks: Sequence[Ask]) -> dict[str, torch.Tensor]:
        """Model inputs for a batch of asks, left-padded."""
        images = [[open_image(path) for path in ask.images] for ask in asks]
        batch = self.processor(
            text=[self.render(ask) for ask in asks],
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
        rows = decode(self.model, self.encode(asks), seeds=seeds, decoding=decoding, stop_id=stop_id)
        return [[self._completion(row) for row in group] for group in rows]

    def _completion(self, row: Row) -> Completion:
        text = self.tokenizer.decode(row.tokens, skip_special_tokens=True).strip()
        return Completion(text, len(row.tokens), row.sum_logp, "stop" if row.stopped else "length")


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


def render(processor: Any, prompt: str, *, n_images: int) -> str:
    """A user's turn with images before the prompt, and the generation header after it."""
    content: list[dict[str, str]] = [{"type": "image"} for _ in range(n_images)]
    content.append({"type": "text", "text": prompt})
    messages = [{"role": "user", "content": content}]
    return str(processor.apply_chat_template(messages, add_generation_prompt=True))


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
    missing = [name for name in ("config.json", "processor_config.json") if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"The model folder {folder} lacks {' and '.join(missing)}.",
            "A policy is a Hugging Face checkpoint: model and processor in one folder.",
            "Give policy.model a folder that save_pretrained wrote for both, or 'tiny' for the embedded default.",
        )


def check_processor(processor: Any, config: Any, folder: Path) -> None:
    """Raises: UserError when prompts, images or ends of texts could not be turned into the model's tokens."""
    if not getattr(processor, "chat_template", None):
        raise UserError(
            f"The model in {folder} has no chat template.",
            "Its prompts could be rendered in any way, and only the one it was trained with works.",
            f"Write that template to {folder / 'chat_template.jinja'}.",
        )
    if lacking := [name for name in ("pad_token", "eos_token") if getattr(processor.tokenizer, name) is None]:
        raise UserError(
            f"The tokenizer in {folder} has no {' and no '.join(lacking)}.",
            "Batches are filled up with the one, and the other ends every report.",
            "Set it on the tokenizer (pad_token may be eos_token), and save_pretrained the processor again.",
        )
    check_image_token(processor, config, folder)


def check_image_token(processor: Any, config: Any, folder: Path) -> None:
    """Raises: UserError when an image in a prompt would not become the tokens that the model puts its features at."""
    number = getattr(config, "image_token_id", None)
    text = getattr(processor, "image_token", None)
    known = processor.tokenizer.get_vocab()
    if (number is not None and number not in known.values()) or (text is not None and known.get(text) != number):
        raise UserError(
            f"The tokenizer in {folder} lacks the image token: the model's is number {number}, the processor's {text}.",
            "The model would not see the images, or stop at its first batch.",
            "Use the tokenizer that belongs to the model, or add the token under that number and save it again.",
        )
    if render(processor, "", n_images=1) == render(processor, "", n_images=0):
        raise UserError(
            f"The chat template in {folder} leaves out images.",
            "The model would be trained and asked without seeing any.",
            f"Make it write the image token {text or ''} for content of the type image.",
        )
