"""What turns images and texts into vectors, by name; each distinct image and text is encoded once.

That is more than a saving: in another batch the last bits of a vector can differ, and items with the same text would
no longer be equally near.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from chexalign.errors import UserError
from chexalign.recipe.mine import EncoderName

Array = npt.NDArray[np.float32]
T = TypeVar("T", str, Path)

_ROWS_AT_ONCE = 8192


class Encoder(Protocol):
    """Makes vectors, [n, width] float32; a text without a token, and an item without an image, has a zero vector."""

    digest: str  # of the content of its model

    def images(self, paths: Sequence[Path]) -> Array:
        """One vector for each image file.

        Raises: UserError for a file that cannot be read, and where it encodes no images.
        """
        ...

    def texts(self, texts: Sequence[str]) -> Array:
        """One vector for each text."""
        ...


def open_encoder(name: EncoderName, folder: Path, *, device: str = "cpu", policy: Any = None) -> Encoder:
    """An encoder from a folder on this machine; nothing is downloaded.

    `policy`: the vision tower and the token embeddings of a policy's checkpoint, `policy` itself where it is loaded.
    `sentence`: a sentence-transformers or transformers text encoder, mean of tokens. `open_clip`: an open_clip model
    such as BiomedCLIP, for images and texts; it needs the package open_clip and is tested against a stand-in only.
    Raises: UserError for a name that there is not, a folder that holds no such model, or a package that is missing.
    """
    if name == "policy":
        from chexalign.mine.vectors.policy_encoder import PolicyEncoder

        return PolicyEncoder.load(folder, device=device) if policy is None else PolicyEncoder(policy)
    if name == "sentence":
        from chexalign.mine.vectors.sentence_encoder import SentenceEncoder

        return SentenceEncoder(folder, device=device)
    if name == "open_clip":
        from chexalign.mine.vectors.clip_encoder import ClipEncoder

        return ClipEncoder(folder, device=device)
    raise UserError(
        f"There is no encoder {name!r}.", f"The names are {', '.join(get_args(EncoderName))}.", "Use one of them."
    )


def text_blocks(encoder: Encoder, texts: Sequence[str]) -> Iterator[Array]:
    """The vectors of all texts in order, in blocks of rows."""
    places, vectors = _distinct(texts, encoder.texts)
    for start in range(0, len(texts), _ROWS_AT_ONCE):
        yield vectors[[places[text] for text in texts[start : start + _ROWS_AT_ONCE]]]


def image_blocks(encoder: Encoder, images: Sequence[Sequence[Path]]) -> Iterator[Array]:
    """The vectors of all items in order, in blocks of rows: the mean over an item's images, as published for two."""
    places, vectors = _distinct([path for own in images for path in own], encoder.images)
    for start in range(0, len(images), _ROWS_AT_ONCE):
        some = images[start : start + _ROWS_AT_ONCE]
        block = np.zeros((len(some), vectors.shape[1]), np.float32)
        for row, own in enumerate(some):
            if own:
                block[row] = vectors[[places[path] for path in own]].mean(axis=0)
        yield block


def _distinct(values: Sequence[T], encode: Callable[[Sequence[T]], Array]) -> tuple[dict[T, int], Array]:
    """The place of each distinct value, and the vectors; sorted, so that the order of items changes no batch."""
    distinct = sorted(set(values))
    return {value: i for i, value in enumerate(distinct)}, encode(distinct)
