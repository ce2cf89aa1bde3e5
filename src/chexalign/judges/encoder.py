"""Embeddings of the words of texts in their context, by one layer of an encoder in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexalign.engines.device import device_here
from chexalign.errors import UserError

if TYPE_CHECKING:
    import torch

_MAX_TOKENS = 512


class Encoder:
    """The first layers of an encoder that reads texts as [CLS] words [SEP], as BERT and DistilBERT do; float32.

    `layer` counts from 1, the first after the embeddings. The weights are read when they are first needed.
    """

    def __init__(self, folder: Path, *, layer: int, batch_size: int, device: str | None) -> None:
        self._folder, self._layer, self._batch_size, self._device = folder, layer, batch_size, device

    def encode(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Unit embeddings of every token, [CLS] and [SEP] included: [n_tokens, width] float32 per distinct text.

        A text is cut at 512 tokens, or fewer where the model takes no more. Batches are made of texts of like length.
        Raises: UserError when the folder holds no such encoder.
        """
        import torch

        tokens = self._tokenizer(list(texts), truncation=True, max_length=self._longest)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: (-len(tokens[i]), texts[i]))
        out: dict[str, torch.Tensor] = {}
        device = next(self._model.parameters()).device
        with torch.inference_mode():
            for start in range(0, len(order), self._batch_size):
                rows = order[start : start + self._batch_size]
                lengths = [len(tokens[i]) for i in rows]
                ids = torch.zeros(len(rows), max(lengths), dtype=torch.long)
                for row, i in enumerate(rows):
                    ids[row, : lengths[row]] = torch.tensor(tokens[i])
                mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
                hidden = self._model(ids.to(device), attention_mask=mask.to(device)).last_hidden_state
                hidden = torch.nn.functional.normalize(hidden, dim=-1)
                out.update((texts[i], hidden[row, : lengths[row]]) for row, i in enumerate(rows))
        return out

    @cached_property
    def _longest(self) -> int:
        told = getattr(self._model.config, "max_position_embeddings", _MAX_TOKENS)
        return min(_MAX_TOKENS, told)

    @cached_property
    def _model(self) -> Any:
        """The model without the layers above."""
        import torch
        from transformers import AutoModel

        try:
            model = AutoModel.from_pretrained(self._folder, local_files_only=True, dtype=torch.float32)
        except Exception as e:  # it raises whatever its readers raise
            raise _unusable(self._folder, f"its weights cannot be read ({type(e).__name__})") from e
        n = getattr(model.config, "num_hidden_layers", None)
        stacks = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == n]
        if len(stacks) != 1 or n is None or not 1 <= self._layer <= n:
            raise _unusable(self._folder, f"layer {self._layer} of {n} is not to be had")
        del stacks[0][self._layer :]
        return model.eval().to(self._device or device_here())

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
        except Exception as e:  # likewise
            raise _unusable(self._folder, f"its tokenizer cannot be read ({type(e).__name__})") from e
        tokens = tokenizer("a")["input_ids"]
        if len(tokens) < 3 or [tokens[0], tokens[-1]] != [tokenizer.cls_token_id, tokenizer.sep_token_id]:
            raise _unusable(self._folder, "its tokenizer does not put [CLS] before a text and [SEP] behind it")
        return tokenizer


def _unusable(folder: Path, why: str) -> UserError:
    return UserError(
        f"The encoder in {folder} cannot be used for embeddings.",
        f"{why[0].upper()}{why[1:]}.",
        "Give a model like BERT or DistilBERT in Hugging Face format with its tokenizer, and a layer that it has.",
    )
