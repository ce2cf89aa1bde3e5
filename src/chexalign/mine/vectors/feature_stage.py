"""The features of a gallery, made once: those of every modality that some combination weighs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexalign import atomic, ids
from chexalign.errors import UserError
from chexalign.mine.gallery import Gallery
from chexalign.mine.vectors.encoders import Encoder, image_blocks, open_encoder, text_blocks
from chexalign.mine.vectors.features import Array, FeatureSet, content_of, open_features, write_features
from chexalign.mine.vectors.findings import columns_of, findings_of, flag_blocks, flags_digest
from chexalign.mine.vectors.variants import MODALITIES, Weights, weights_of
from chexalign.recipe.mine import Modality
from chexalign.run_folder import SFT, RunFolder


def modalities(variants: Iterable[str | Weights]) -> list[Modality]:
    """Every modality that one of the combinations weighs, in their fixed order."""
    weighed = {name for variant in variants for name in weights_of(variant)}
    return [name for name in MODALITIES if name in weighed]


@dataclass(frozen=True)
class FeatureJob:
    """Makes the features of a gallery; `encoders` is the recipe's EncodersSpec."""

    run: RunFolder
    gallery: Gallery
    encoders: Any
    wanted: list[Modality]

    def features(self) -> FeatureSet:
        """All that is wanted, from files that are whole and of these items and models, or made again."""
        opened: dict[tuple[str, Path], Encoder] = {}
        atomic.remove_leftovers(self.run.mine_features)  # each as large as a file of features
        for modality in self.wanted:
            if modality == "findings":
                self._flags()
                continue
            name, folder = self._encoder(modality)
            encoder = opened.get((name, folder)) or open_encoder(name, folder)
            opened[name, folder] = encoder
            model = ids.digest(encoder.digest, self._given(modality))
            if not self._whole(modality, model):
                blocks = self._blocks(modality, encoder)
                write_features(self.run.mine_features, modality, blocks, items=self.gallery.items, model=model)
        return open_features(self.run.mine_features, self.gallery.items, only=self.wanted)

    def _encoder(self, modality: Modality) -> tuple[Any, Path]:
        kind = "image" if modality == "image" else "text"
        name, folder = getattr(self.encoders, kind), getattr(self.encoders, f"{kind}_folder")
        return name, folder or self.run.policy(SFT)

    def _blocks(self, modality: Modality, encoder: Encoder) -> Iterator[Array]:
        if modality == "image":
            of_items = [question.images for question in self.gallery.questions]
            return image_blocks(encoder, [[self.run.image_path(image) for image in images] for images in of_items])
        return text_blocks(encoder, self._texts(modality))

    def _texts(self, modality: Modality) -> list[str]:
        return [q.text if modality == "question" else q.rationale or "" for q in self.gallery.questions]

    def _given(self, modality: Modality) -> list[Any]:
        """What is encoded, by content: a question keeps its id when its words or its images change."""
        if modality == "image":
            return [[image.sha256 for image in question.images] for question in self.gallery.questions]
        return self._texts(modality)

    def _flags(self) -> None:
        found = [findings_of(question) for question in self.gallery.questions]
        columns = columns_of(found)
        digest = ids.digest(flags_digest(columns), [sorted(of_item) for of_item in found])
        if not self._whole("findings", digest):
            blocks = flag_blocks(found, columns)
            items, folder = self.gallery.items, self.run.mine_features
            write_features(folder, "findings", blocks, items=items, model=digest, kind="flags")

    def _whole(self, modality: Modality, model: str) -> bool:
        """Whether the file is there, made by that of these items, and undamaged; it is read once."""
        try:
            found = open_features(self.run.mine_features, self.gallery.items, models={modality: model}, only=[modality])
        except UserError:  # missing, of other items, or of a policy that has changed since
            return False
        return content_of(found.features[modality]) == found.features[modality].content
