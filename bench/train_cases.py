"""The pairs that bench/train.py measures, in a module that is light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NUMBERS = ("no image", "one image", "two images")


@dataclass(frozen=True)
class Case:
    """What a pair looks like: images, tokens of the prompt's text, and the range of a completion's length."""

    images: int
    text: int
    completion: tuple[int, int]

    def words(self, shape: Mapping[str, Any]) -> str:
        """The case for a reader, given the shape of the model's images."""
        prompt = self.text + self.images * (shape["image_px"] // shape["patch_px"]) ** 2
        return f"{_NUMBERS[self.images]}, {prompt:,} prompt tokens, {self.completion[1]} per completion"


CASES = {
    "two_images": Case(2, 64, (80, 80)),
    "one_image": Case(1, 30, (90, 90)),
    "short_prompt": Case(0, 16, (120, 120)),
}
