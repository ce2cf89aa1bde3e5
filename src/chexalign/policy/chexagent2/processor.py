"""What turns prompts and images into CheXagent-2's inputs, as its published code does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chexalign.policy.chexagent2.tokenizer import END, IMAGE, IMAGE_END, IMAGE_START, load_tokenizer
from chexalign.policy.processor import Parts

_TEMPLATE_FILE, _IMAGES_FILE = "chat_template.jinja", "preprocessor_config.json"
# The published template puts in no system text; whoever calls it does, always this one.
SYSTEM = "You are a helpful assistant."
# Images come before the text, numbered from 1 in each turn, as the published code lists them.
TEMPLATE = (
    "{%- if messages[0].role != 'system' %}{{ '<|system|>\\n" + SYSTEM + END + "\\n' }}{% endif -%}"
    "{%- for message in messages -%}"
    "{{ '<|' + message.role + '|>\\n' }}"
    "{%- if message.content is string %}{{ message.content }}{% else -%}"
    "{%- set found = namespace(images=0) -%}"
    "{%- for part in message.content if part.type == 'image' -%}"
    "{%- set found.images = found.images + 1 -%}"
    "{{ 'Picture ' ~ found.images ~ ':" + IMAGE_START + IMAGE + IMAGE_END + "\\n' }}"
    "{%- endfor -%}"
    "{%- for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor -%}"
    "{%- endif -%}"
    "{{ '" + END + "\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif -%}"
)


class CheXagentParts(Parts):
    """Image processor, tokenizer and template; a prompt's own words must not hold the marks of images."""

    reserved = (IMAGE_START, IMAGE_END, IMAGE)

    def save_pretrained(self, folder: Path) -> None:
        """Writes the parts, and the two tokenizer files that the published code reads."""
        super().save_pretrained(folder)
        self.tokenizer.backend_tokenizer.model.save(str(folder))


def load_parts(folder: Path, config: Any) -> CheXagentParts:
    """The parts of a checkpoint; where the folder says nothing of images, they are made as the published code does.

    Which is: RGB, both sides to 512 pixels by bicubic interpolation whatever the shape, values from -1 to 1.
    """
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    side = config.vision_config.image_size
    images = (
        SiglipImageProcessorPil.from_pretrained(folder)
        if (folder / _IMAGES_FILE).is_file()
        else SiglipImageProcessorPil(size={"height": side, "width": side})
    )
    beside = folder / _TEMPLATE_FILE
    template = beside.read_text(encoding="utf-8") if beside.is_file() else TEMPLATE
    return CheXagentParts(images, load_tokenizer(folder), template, IMAGE)
