"""CheXagent-2 among the families: plainly causal, one span of tokens per image, and ids that are never written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from chexalign.policy.chexagent2.tokenizer import unwritable
from chexalign.policy.families_causal import Family


@dataclass(frozen=True)
class CheXagent2(Family):
    """An image is as many image tokens as the tower has patches, between two marks that the template writes."""

    @property
    def no_fp16(self) -> str:
        """Phi-2's attention overflows."""
        return "The attention of Phi-2 leaves the range of float16, and the logits become NaN."

    @property
    def context(self) -> int:
        """As many as CheXalign trained with: two images alone fill what config.json names, and positions go on."""
        return int(self.config.context_tokens)

    def banned(self, tokenizer: Any, vocab_size: int) -> tuple[int, ...]:
        """Marks of images and boxes, fillers, and rows of the embeddings that no token has."""
        return unwritable(tokenizer, vocab_size)

    def _spans(self, tokenizer: Any, images: dict[str, torch.Tensor]) -> list[str]:
        return [self._image_token(tokenizer) * self.config.image_seq_length for _ in images["pixel_values"]]
