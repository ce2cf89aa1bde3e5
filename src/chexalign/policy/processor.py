"""What turns prompts and images into a model's inputs: its own processor, or the processor's parts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from chexalign.errors import UserError
from chexalign.policy.families import Family
from chexalign.policy.formats import content_of

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")  # a checkpoint has one of them or both


class Parts:
    """Image processor, tokenizer and chat template of a model whose joint processor cannot be built here.

    Several of those insist on torchvision, for videos that no report is about; the image tokens are then put out by
    the model's family. A prompt's own words must not hold `reserved` tokens.
    """

    reserved: tuple[str, ...] = ()

    def __init__(self, image_processor: Any, tokenizer: Any, chat_template: str | None, image_token: str) -> None:
        self.image_processor, self.tokenizer = image_processor, tokenizer
        self.chat_template, self.image_token = chat_template, image_token
        tokenizer.chat_template = chat_template

    def apply_chat_template(self, messages: list[dict[str, Any]], *, add_generation_prompt: bool) -> str:
        """The text of a conversation."""
        text: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return text

    def save_pretrained(self, folder: Path) -> None:
        """Writes the parts, from which a joint processor can be loaded where it can be built."""
        self.image_processor.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def load_processor(folder: Path, config: Any) -> Any:
    """The folder's own processor, or its parts where that one needs what is not installed.

    Raises: UserError when neither can be had.
    """
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(folder)
    except (ImportError, ValueError) as e:
        if "torchvision" not in str(e).lower():
            raise
        return _load_parts(folder, config)


def _load_parts(folder: Path, config: Any) -> Parts:
    from transformers import AutoImageProcessor, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    template, beside = tokenizer.chat_template, folder / "chat_template.json"  # where older checkpoints keep it
    if template is None and beside.is_file():
        template = json.loads(beside.read_text(encoding="utf-8"))["chat_template"]
    number = getattr(config, "image_token_id", None)
    token: Any = tokenizer.convert_ids_to_tokens(number) if number is not None else None
    if token is None:
        raise UserError(
            f"The tokenizer in {folder} lacks the image token, number {number}.",
            "The model would not see the images.",
            "Use the tokenizer that belongs to the model.",
        )
    return Parts(AutoImageProcessor.from_pretrained(folder), tokenizer, template, token)


def encode_parts(
    family: Family, parts: Parts, texts: Sequence[str], images: Sequence[Sequence[Image.Image]]
) -> dict[str, torch.Tensor]:
    """Model inputs for rendered prompts and their images, left-padded: what a joint processor would make of them.

    Raises: UserError when the family leaves the image tokens to its joint processor.
    """
    if not family.expands:
        raise UserError(
            f"The processor of {family.config.model_type} cannot be built: it needs torchvision.",
            "It alone knows how many tokens an image takes.",
            "Install a torchvision that fits your torch, and run again.",
        )
    found = [family.image_inputs(parts, list(row)) for row in images]
    rows = [family.expand(parts.tokenizer, text, image) for text, image in zip(texts, found, strict=True)]
    width, pad_id = max(map(len, rows)), parts.tokenizer.pad_token_id
    ids = torch.tensor([[pad_id] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": mask, **family.collate_images(found)}


def render(processor: Any, prompt: str, *, n_images: int) -> str:
    """A user's turn with its images, and the generation header after it.

    Raises: UserError when the prompt itself holds a mark of images: the model would look for one where none is, and
    taking the mark out would ask another question than the study's.
    """
    if marks := [mark for mark in getattr(processor, "reserved", ()) if mark in prompt]:
        raise UserError(
            f"A prompt holds {' and '.join(marks)} in its own words.",
            "These tokens say where images stand; they are written for each image, and nowhere else.",
            "Remove them from the template or from the indication, and give images as files.",
        )
    messages = [{"role": "user", "content": content_of(prompt, n_images=n_images)}]
    return str(processor.apply_chat_template(messages, add_generation_prompt=True))


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
    # Gemma 3 writes one token for an image and puts others in its place; a processor names those by number alone.
    named = [i for i in getattr(processor, "image_token_ids", None) or () if i is not None]
    written = named or ([known.get(text)] if text is not None else [])
    if (number is not None and number not in known.values()) or (written and number not in written):
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
