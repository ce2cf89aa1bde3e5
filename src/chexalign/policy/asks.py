"""From studies to asks."""

from __future__ import annotations

from pathlib import Path

from chexalign.policy.base import Ask
from chexalign.types import Study


def ask_of(study: Study, prompt: str, *, root: Path, max_images: int) -> Ask:
    """The ask for a study: a prompt's text and the first `max_images` images of the study."""
    return Ask(prompt, tuple(root / image.path for image in study.images[:max_images]))
