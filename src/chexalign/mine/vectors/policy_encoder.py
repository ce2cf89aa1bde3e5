"""Vectors from the policy itself: the mean of its vision tokens, and the mean of its token embeddings."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chexalign import ids
from chexalign.errors import UserError
from chexalign.mine.vectors.features import Array
from chexalign.policy.families import family_of
from chexalign.policy.hf import HFPolicy, open_image

_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt")
_BATCH = 32


class PolicyEncoder:
    """Images by the tokens that the decoder is given for them, texts by the embeddings of their tokens.

    Both are means over tokens, in float32; order and place count for nothing. A text's vector knows its words and not
    their sense: "no effusion" and "effusion" are near.
    """

    def __init__(self, policy: HFPolicy) -> None:
        self.policy = policy
        self.digest = ids.folder_digest(policy.folder, _FILES)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> PolicyEncoder:
        """The encoder of a checkpoint folder."""
        return cls(HFPolicy(folder, device=device))

    def images(self, paths: Sequence[Path]) -> Array:
        """[n, width of the decoder]."""
        family, model = family_of(self.policy.model), self.policy.model
        found = []
        for start in range(0, len(paths), _BATCH):
            some = paths[start : start + _BATCH]
            found += image_vectors(
                model, [family.image_inputs(self.policy.processor, [open_image(path)]) for path in some]
            )
        return np.stack(found) if found else np.zeros((0, 1), np.float32)

    def texts(self, texts: Sequence[str]) -> Array:
        """[n, width of the decoder]; marks that a model's own tokenizer adds are left out."""
        table = self.policy.model.get_input_embeddings().weight
        found = np.zeros((len(texts), table.shape[1]), np.float32)
        for row, text in enumerate(texts):
            tokens = self.policy.tokenizer(text, add_special_tokens=False)["input_ids"]
            if tokens:
                found[row] = table.detach()[torch.tensor(tokens)].float().mean(0).cpu().numpy()
        return found


@torch.no_grad()
def image_vectors(model: Any, images: Sequence[dict[str, torch.Tensor]]) -> list[Array]:
    """The mean vision token of each image, whose inputs come one by one; tiles of one image count together.

    Raises: UserError for a model that gives no image features of its own.
    """
    inputs = family_of(model).collate_images(images)
    tokens = _tokens(model, {name: value.to(model.device) for name, value in inputs.items()})
    if len(tokens) != len(images):  # tiles: which belong to which image is known only one by one
        each = [_tokens(model, {name: value.to(model.device) for name, value in image.items()}) for image in images]
        tokens = [torch.cat([tile.reshape(-1, tile.shape[-1]) for tile in tiles]) for tiles in each]
    return [own.reshape(-1, own.shape[-1]).float().mean(0).cpu().numpy() for own in tokens]


def _tokens(model: Any, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """The vision tokens [tokens, width] of each image, or of each tile."""
    pixels = {name: v.to(model.dtype) if v.is_floating_point() else v for name, v in inputs.items()}
    if hasattr(model, "get_image_features"):
        known = inspect.signature(model.get_image_features).parameters
        found = model.get_image_features(**{name: value for name, value in pixels.items() if name in known})
        return list(getattr(found, "pooler_output", found))
    if (tower := getattr(getattr(model, "model", None), "visual", None)) is not None:
        return list(tower(pixels["pixel_values"]))
    raise UserError(
        f"A model of type {model.config.model_type!r} gives no image features of its own.",
        "It has neither get_image_features nor a tower named visual.",
        "Name another encoder for images.",
    )
