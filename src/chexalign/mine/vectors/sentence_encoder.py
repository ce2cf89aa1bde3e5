"""Vectors of texts from an encoder of sentences: the mean of its last hidden states."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chexalign import ids
from chexalign.errors import UserError
from chexalign.mine.vectors.features import Array

_FILES = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")
_BATCH = 64


class SentenceEncoder:
    """A folder of sentence-transformers or of transformers, pooled by the mean over tokens, in float32."""

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        """Raises: UserError for a folder that holds no text encoder, or one that is pooled in another way."""
        from transformers import AutoModel, AutoTokenizer

        _check_pooling(folder)
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model: Any = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        except (OSError, ValueError, KeyError) as e:
            raise UserError(
                f"The folder {folder} holds no text encoder ({type(e).__name__}).",
                "It needs config.json, weights and tokenizer, as transformers writes them.",
                "Name the folder of a sentence-transformers model; nothing is downloaded.",
            ) from e
        self.model.eval().to(device)
        self.digest = ids.folder_digest(folder, _FILES)

    def images(self, paths: Sequence[Path]) -> Array:
        """Raises: UserError, since it encodes no images."""
        raise UserError(
            "An encoder of sentences is asked to encode images.",
            "It reads texts only.",
            "Name the encoder 'policy' or 'open_clip' for images.",
        )

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Array:
        """[n, width]; a text is cut at the model's longest."""
        longest = min(self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", 512))
        found = np.zeros((len(texts), self.model.config.hidden_size), np.float32)
        filled = sorted((i for i, text in enumerate(texts) if text.strip()), key=lambda i: (len(texts[i]), texts[i]))
        for start in range(0, len(filled), _BATCH):
            rows = filled[start : start + _BATCH]
            batch = self.tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=longest, return_tensors="pt"
            ).to(self.model.device)
            mask = batch["attention_mask"][..., None].float()
            hidden = self.model(**batch).last_hidden_state
            found[rows] = ((hidden * mask).sum(1) / mask.sum(1)).cpu().numpy()
        return found


def _check_pooling(folder: Path) -> None:
    """Raises: UserError where the folder says that its sentences are not the mean of tokens."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        pooling = json.loads((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # a plain transformers folder says nothing of pooling
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    used = [name for name, value in pooling.items() if name.startswith("pooling_mode_") and value is True]
    if set(kinds) - {"Transformer", "Pooling", "Normalize"} or used not in ([], ["pooling_mode_mean_tokens"]):
        raise UserError(
            f"The sentences of the model in {folder} are not the mean of its tokens.",
            f"It is made of {', '.join(kinds)}, pooled by {', '.join(used)}.",
            "Name a model that is pooled by the mean, such as all-MiniLM-L6-v2.",
        )
