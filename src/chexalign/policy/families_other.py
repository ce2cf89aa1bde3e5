"""Architectures that differ from a plain causal decoder in positions, in masks or in how images become tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from chexalign.errors import UserError
from chexalign.policy.families_causal import Batch, Family


@dataclass(frozen=True)
class MRope(Family):
    """Qwen2-VL, Qwen2.5-VL and Qwen3-VL: positions have three axes, and an image takes few of them."""

    def token_types(self, ids: torch.Tensor, completion: torch.Tensor) -> dict[str, torch.Tensor]:
        """1 at image tokens, from which the model counts its positions."""
        return {"mm_token_type_ids": (ids == self.config.image_token_id).int()}

    def _positions(self, model: Any, batch: Batch, vision: dict[str, Any]) -> torch.Tensor:
        """[3, B, L]: the model's own in the prompt; every completion goes on after the largest of them."""
        ids, segments, positions = batch["input_ids"], batch["segments"], batch["positions"]
        prompt = segments == 0
        width = int(prompt.any(0).nonzero().max()) + 1
        inside, _ = model.model.get_rope_index(
            ids[:, :width],
            image_grid_thw=vision.get("image_grid_thw"),
            attention_mask=prompt[:, :width].long(),
            **self.token_types(ids[:, :width], prompt),
        )
        shift = inside.amax((0, 2)) + 1 - prompt.sum(1)  # [B]
        after = (positions + shift[:, None]).masked_fill(segments < 0, 0)
        return torch.cat([inside, after[None, :, width:].expand(3, -1, -1)], dim=2)

    def _spans(self, tokenizer: Any, images: dict[str, torch.Tensor]) -> list[str]:
        merged = images["image_grid_thw"].prod(1) // self.config.vision_config.spatial_merge_size**2
        return [self._image_token(tokenizer) * n for n in merged.tolist()]


@dataclass(frozen=True)
class Gemma3(Family):
    """Gemma 3 and MedGemma: the tokens of one image see each other; layers with a window alternate with full ones."""

    def token_types(self, ids: torch.Tensor, completion: torch.Tensor) -> dict[str, torch.Tensor]:
        """1 at image tokens, between which the model lets attention go both ways."""
        return {"token_type_ids": (ids == self.config.image_token_id).long()}

    def _blocks(self, batch: Batch) -> torch.Tensor:
        image = (batch["input_ids"] == self.config.image_token_id) & (batch["segments"] == 0)
        starts = image & ~torch.nn.functional.pad(image, (1, 0))[:, :-1]
        return torch.where(image, starts.cumsum(1), -1)


@dataclass(frozen=True)
class PaliGemma(Family):
    """PaliGemma 1 and 2: attention goes both ways in the whole prompt, and positions count from 1."""

    def token_types(self, ids: torch.Tensor, completion: torch.Tensor) -> dict[str, torch.Tensor]:
        """0 in the prompt, 1 in the completion."""
        return {"token_type_ids": completion.long()}

    def _positions(self, model: Any, batch: Batch, vision: dict[str, Any]) -> torch.Tensor:
        return batch["positions"] + 1

    def _blocks(self, batch: Batch) -> torch.Tensor:
        return torch.where(batch["segments"] == 0, 0, -1)

    def _masks(self, model: Any, batch: Batch) -> torch.Tensor:
        """One mask for all layers: the class takes no other.

        Raises: UserError when a completion ends beyond a sliding window, where one mask is not enough.
        """
        window, longest = getattr(self.text, "sliding_window", None), int(batch["positions"].max()) + 1
        if window and longest > window:
            raise UserError(
                f"A prompt and a completion have {longest} tokens, and this PaliGemma has a window of {window}.",
                "Completions cannot share a prompt here: its layers with and without a window take one mask.",
                "Leave out examples longer than the window.",
            )
        return self._native(self._full(batch), model)


@dataclass(frozen=True)
class Idefics3(Family):
    """Idefics3 and SmolVLM: pixels have a dimension for the images of an example, and a large image is cut in tiles."""

    def collate_images(self, rows: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """One row per example, the number of images filled up with zeros, which the model leaves out."""
        some = next((row for row in rows if row), {})
        none = {name: t.new_zeros(1, 0, *t.shape[2:]) for name, t in some.items() if name in self.accepts}
        return Family.collate_images(self, [row or none for row in rows])

    def _process(self, processor: Any, images: Sequence[Image.Image], options: dict[str, Any]) -> Any:
        return processor([list(images)], return_tensors="pt", **{**options, "return_row_col_info": True})

    def _kept(self) -> frozenset[str]:
        return self.accepts | {"rows", "cols"}

    def _spans(self, tokenizer: Any, images: dict[str, torch.Tensor]) -> list[str]:
        rows, columns = images["rows"].flatten().tolist(), images["cols"].flatten().tolist()
        return [self._tiles(self._image_token(tokenizer), r, c) for r, c in zip(rows, columns, strict=True)]

    def _tiles(self, token: str, rows: int, columns: int) -> str:
        """The tiles row by row, each with its place, and the whole image after them."""
        tower, around = self.config.vision_config, "<fake_token_around_image>"
        image = token * ((tower.image_size // tower.patch_size) ** 2 // self.config.scale_factor**2)
        lines = [
            "".join(f"{around}<row_{r}_col_{c}>{image}" for c in range(1, columns + 1)) for r in range(1, rows + 1)
        ]
        tiles = "".join(line + "\n" for line in lines) + "\n" * bool(lines)
        return f"{tiles}{around}<global-img>{image}{around}"


@dataclass(frozen=True)
class InternVL(Family):
    """InternVL: an image is cut in patches of one size, all of them between one start and one end token."""

    def _process(self, processor: Any, images: Sequence[Image.Image], options: dict[str, Any]) -> Any:
        return processor(list(images), return_tensors="pt", **{"crop_to_patches": True, **options})

    def _kept(self) -> frozenset[str]:
        return self.accepts | {"num_patches"}

    def _spans(self, tokenizer: Any, images: dict[str, torch.Tensor]) -> list[str]:
        token, per_patch = self._image_token(tokenizer), self.config.image_seq_length
        start, end = tokenizer.start_image_token, tokenizer.end_image_token
        return [f"{start}{token * (per_patch * n)}{end}" for n in images["num_patches"].tolist()]
