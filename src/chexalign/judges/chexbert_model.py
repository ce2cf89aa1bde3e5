"""CheXbert's network: a BERT with one linear head per label, from the published checkpoint's file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chexalign.errors import UserError

if TYPE_CHECKING:
    import torch

HEADS: tuple[str, ...] = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
)
"""The label of each head of the checkpoint; only this module reads heads by their position."""

CLASSES: tuple[Literal["blank", "positive", "negative", "uncertain"], ...] = (
    "blank",
    "positive",
    "negative",
    "uncertain",
)
"""What the classes of a head mean; that of No Finding has the first two alone."""

_HEAD_SIZE = 64  # of attention, in every BERT of the original's kind
_UNUSED = ("pooler.", "position_ids")


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a chexbert.pth by their names in the original code; nothing else in the file is run.

    Raises: UserError when it holds no CheXbert.
    """
    import torch

    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        weights = {name.removeprefix("module."): tensor for name, tensor in saved["model_state_dict"].items()}
        heads = [weights[f"linear_heads.{i}.weight"].shape[0] for i in range(len(HEADS))]
    except Exception as e:  # whatever else such a file may be
        raise _no_checkpoint(path, type(e).__name__) from e
    if heads != [4] * 13 + [2] or f"linear_heads.{len(HEADS)}.weight" in weights:
        raise _no_checkpoint(path, "its heads are others")
    return weights


def build_model(weights: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """CheXbert with these weights: for ids [B, T] and a mask [B, T] or None it gives B classes per label, by name.

    Sizes are those of the weights: 12 layers of 768 in the published checkpoint.
    Raises: UserError when a weight is missing or of another shape.
    """
    import torch
    from transformers import BertConfig, BertModel

    embeddings = weights["bert.embeddings.word_embeddings.weight"]
    layers = {name.split(".")[3] for name in weights if name.startswith("bert.encoder.layer.")}
    config = BertConfig(
        vocab_size=embeddings.shape[0],
        hidden_size=embeddings.shape[1],
        num_hidden_layers=len(layers),
        num_attention_heads=max(1, embeddings.shape[1] // _HEAD_SIZE),
        intermediate_size=weights["bert.encoder.layer.0.intermediate.dense.weight"].shape[0],
    )

    class CheXbert(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = BertModel(config, add_pooling_layer=False)
            sizes = [len(weights[f"linear_heads.{i}.weight"]) for i in range(len(HEADS))]
            self.linear_heads = torch.nn.ModuleList(torch.nn.Linear(config.hidden_size, n) for n in sizes)

        def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None) -> dict[str, list[int]]:
            first = self.bert(tokens, attention_mask=mask).last_hidden_state[:, 0]
            heads = zip(HEADS, self.linear_heads, strict=True)
            return {name: head(first).argmax(dim=1).tolist() for name, head in heads}

    model = CheXbert()
    kept = {name: tensor.float() for name, tensor in weights.items() if not any(part in name for part in _UNUSED)}
    try:
        model.load_state_dict(kept, strict=True)
    except RuntimeError as e:
        raise _no_checkpoint(None, "its layers are others") from e
    return model


def _no_checkpoint(path: Path | None, problem: str) -> UserError:
    return UserError(
        f"{path or 'The checkpoint of judge chexbert'} is no checkpoint of CheXbert ({problem}).",
        "Under model_state_dict it must hold a BERT, 13 heads of 4 classes and one of 2.",
        "Use chexbert.pth as it is published.",
    )
