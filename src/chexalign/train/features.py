"""Features of a frozen vision tower, computed once per image and reused at every step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from chexalign.policy.hf import open_image

_BATCH = 64


class FeatureTable:
    """Tower features by image key; the projector runs at every step, since it may be trained.

    Holds [tokens, width] float32 per image in memory: 8 KiB each for the tiny policy.
    """

    def __init__(self, rows: dict[str, torch.Tensor]) -> None:
        self._rows = rows

    def __or__(self, other: FeatureTable) -> FeatureTable:
        """Both tables as one; where both have a key, the other's features count."""
        return FeatureTable(self._rows | other._rows)

    def inputs(self, model: Any, keys: Sequence[str]) -> dict[str, Any]:
        """Keyword arguments that give the model these images instead of pixels."""
        if not keys:
            return {}
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        projected: Any = list(model.model.multi_modal_projector(torch.stack([self._rows[key] for key in keys])))
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=projected)}}


def tower_features(model: Any, processor: Any, images: Iterable[str]) -> FeatureTable:
    """The features of each image file, keyed by its path, as the model's projector reads them."""
    return image_features(model, processor, ((path, open_image(Path(path))) for path in sorted(set(images))))


@torch.no_grad()
def image_features(model: Any, processor: Any, images: Iterable[tuple[str, Image.Image]]) -> FeatureTable:
    """The features of each (key, image); the images are read as they are needed, 64 at a time."""
    rows: dict[str, torch.Tensor] = {}
    rest = iter(images)
    while block := list(islice(rest, _BATCH)):
        pixels = processor.image_processor([image for _, image in block], return_tensors="pt")["pixel_values"]
        features = selected_hidden_state(model, pixels)
        rows.update({key: f.clone() for (key, _), f in zip(block, features, strict=True)})
    return FeatureTable(rows)


def selected_hidden_state(model: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """[images, tokens, width]: what Llava's projector reads, before it is projected."""
    layer, strategy = model.config.vision_feature_layer, model.config.vision_feature_select_strategy
    out = model.model.vision_tower(pixel_values, output_hidden_states=True, return_dict=True)
    hidden: torch.Tensor = out.hidden_states[layer]
    return hidden[:, 1:] if strategy == "default" else hidden
