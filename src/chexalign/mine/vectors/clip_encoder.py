"""Vectors from an open_clip model such as BiomedCLIP, which the published tools use, from a folder on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chexalign import ids
from chexalign.errors import UserError
from chexalign.mine.vectors.features import Array
from chexalign.policy.hf import open_image

_FILES = ("*.safetensors", "*.bin", "*.json", "*.txt")
_BATCH = 32


class ClipEncoder:
    """Both towers of an open_clip model.

    It is tested against a stand-in for open_clip only: the package needs torchvision, and the weights are not here.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        """Raises: UserError where open_clip is not installed or the folder holds no model of it."""
        if not (folder / "open_clip_config.json").is_file():
            raise UserError(
                f"The folder {folder} holds no open_clip model.",
                "Its open_clip_config.json is missing; nothing is downloaded.",
                "Put the files of the model there, such as those of BiomedCLIP, or name another encoder.",
            )
        try:
            import open_clip
        except ImportError as e:
            raise UserError(
                "The encoder open_clip is named, and the package open_clip is not installed.",
                "It brings torchvision along, so it is no part of this package.",
                "pip install open_clip_torch, or name another encoder.",
            ) from e
        self.model, self._process = open_clip.create_model_from_pretrained(f"local-dir:{folder}", device=device)
        self._tokenize: Any = open_clip.get_tokenizer(f"local-dir:{folder}")
        self._device = device
        self.model.eval()
        self.digest = ids.folder_digest(folder, _FILES)

    @torch.no_grad()
    def images(self, paths: Sequence[Path]) -> Array:
        """[n, width]."""
        batches = (paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH))
        return _joined(
            self.model.encode_image(
                torch.stack([self._process(open_image(path).convert("RGB")) for path in batch]).to(self._device)
            )
            for batch in batches
        )

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Array:
        """[n, width]; an empty text has the vector that the model gives it."""
        batches = (list(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH))
        return _joined(self.model.encode_text(self._tokenize(batch).to(self._device)) for batch in batches)


def _joined(parts: Any) -> Array:
    found = [part.float().cpu().numpy() for part in parts]
    return np.concatenate(found) if found else np.zeros((0, 1), np.float32)
