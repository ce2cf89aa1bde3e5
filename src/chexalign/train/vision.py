"""Where a batch's image inputs come from: the image files, or features of a frozen vision tower computed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image

from chexalign.policy.families import family_of, unwrap
from chexalign.policy.hf import open_image
from chexalign.train.settings import Precision

_BATCH = 64
# Features beyond this are not kept in memory: the tower then runs once per image and step.
MAX_FEATURE_BYTES = 2 * 2**30


class Vision(Protocol):
    """Makes the image arguments of the model's forward."""

    def inputs(self, images: Sequence[Sequence[str]]) -> dict[str, torch.Tensor]:
        """For the images of each example, in order."""
        ...


class Pixels:
    """Opens and processes the image files at every step; safe to use in the workers of a data loader."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._family, self._processor = family_of(model), processor

    def inputs(self, images: Sequence[Sequence[str]]) -> dict[str, torch.Tensor]:
        """Pixel values, and whatever else the family's forward takes of its image processor."""
        if not any(images):
            return {}
        each = [
            self._family.image_inputs(self._processor, [open_image(Path(path)) for path in paths]) for paths in images
        ]
        return self._family.collate_images(each)


class TowerFeatures:
    """Hidden states of a frozen tower by image key, given to the model in the place of pixels.

    They mean something only inside `cached_tower`. Holds [tokens, width] float32 per image in memory.
    """

    def __init__(self, rows: dict[str, torch.Tensor]) -> None:
        self._rows = rows

    def __or__(self, other: TowerFeatures) -> TowerFeatures:
        """Both tables as one; where both have a key, the other's features count."""
        return TowerFeatures(self._rows | other._rows)

    def inputs(self, images: Sequence[Sequence[str]]) -> dict[str, torch.Tensor]:
        """The features of all images, one after the other."""
        keys = [key for row in images for key in row]
        return {"pixel_values": torch.stack([self._rows[key] for key in keys])} if keys else {}


def tower_features(
    model: Any, processor: Any, images: Iterable[tuple[str, Image.Image]], *, precision: Precision = "fp32"
) -> TowerFeatures:
    """The features of each (key, image), in the precision of training; the images are read as they are needed.

    The tower runs on the accelerator where there is one, and then moves there.
    """
    rows: dict[str, torch.Tensor] = {}
    rest = iter(images)
    device = torch.device("cuda") if torch.cuda.is_available() else model.device
    model.model.vision_tower.to(device)
    tower, layer = model.model.vision_tower, model.config.vision_feature_layer
    while block := list(islice(rest, _BATCH)):
        pixels = processor.image_processor([image for _, image in block], return_tensors="pt")["pixel_values"]
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            out = tower(pixels.to(device, tower.dtype), output_hidden_states=True, return_dict=True)
        # The layer that the projector reads, before any last norm: last_hidden_state is another thing.
        rows.update({key: f.cpu().clone() for (key, _), f in zip(block, out.hidden_states[layer], strict=True)})
    return TowerFeatures(rows)


def files(paths: Iterable[str]) -> Iterator[tuple[str, Image.Image]]:
    """Each image file once, keyed by its path, opened when it is asked for."""
    return ((path, open_image(Path(path))) for path in sorted(set(paths)))


def features_pay(model: Any, processor: Any, n_images: int) -> bool:
    """Whether to compute the features of all images once: a Llava whose tower is frozen, and features that fit.

    Other families run their tower once per image and step, which prefix sharing sees to by itself.
    """
    if model.config.model_type != "llava" or not isinstance(model.config.vision_feature_layer, int) or not n_images:
        return False
    if any(p.requires_grad for p in model.model.vision_tower.parameters()):
        return False
    blank = tower_features(model, processor, [("", Image.new("RGB", (64, 64)))]).inputs([[""]])["pixel_values"]
    return n_images * blank.nbytes <= MAX_FEATURE_BYTES


def choose_vision(
    model: Any, processor: Any, images: Sequence[Sequence[str]], *, precision: Precision = "fp32"
) -> Vision:
    """Features computed now where that pays (see `features_pay`), and else the image files at every step."""
    paths = {path for row in images for path in row}
    if features_pay(model, processor, len(paths)):
        return tower_features(model, processor, files(paths), precision=precision)
    return Pixels(model, processor)


def tower_of(vision: Vision, model: Any) -> AbstractContextManager[None]:
    """What the model must run in to read the inputs of `vision`."""
    return cached_tower(model) if isinstance(vision, TowerFeatures) else nullcontext()


@contextmanager
def cached_tower(model: Any) -> Iterator[None]:
    """Makes the vision tower hand on what it is given as pixel values: features that it computed before."""
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    base = unwrap(model)
    tower, layer = base.model.vision_tower, base.config.vision_feature_layer

    def forward(features: torch.Tensor, **_: Any) -> Any:
        layers: Any = {layer: features}  # read by the index of the layer, which may be negative
        return BaseModelOutputWithPooling(last_hidden_state=features, hidden_states=layers)

    tower.forward = forward
    try:
        yield
    finally:
        del tower.forward
