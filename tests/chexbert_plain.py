"""CheXbert without any haste: one report at a time, as f1chexbert 0.0.2 does it; and checkpoints in its layout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel

NAMES = [
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation"),
    *("Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    *("Support Devices", "No Finding"),
]


class Labeler(torch.nn.Module):
    """The modules of the original, under its names."""

    def __init__(self, **sizes: int) -> None:
        super().__init__()
        config = BertConfig(**sizes)
        self.bert = BertModel(config)
        self.linear_heads = torch.nn.ModuleList(torch.nn.Linear(config.hidden_size, n) for n in [4] * 13 + [2])


def random_checkpoint(path: Path, *, seed: int = 0, **sizes: int) -> None:
    """Writes random weights in the layout of chexbert.pth, large enough that labels differ between reports."""
    torch.manual_seed(seed)
    labeler = Labeler(**sizes)
    for name, weight in labeler.named_parameters():
        if "LayerNorm" not in name and weight.ndim == 2:
            torch.nn.init.normal_(weight, std=2 / labeler.bert.config.hidden_size**0.5)
    for head in labeler.linear_heads:
        torch.nn.init.normal_(head.weight, std=1.0)
    state = {f"module.{name}": tensor for name, tensor in labeler.state_dict().items()}
    state["module.bert.embeddings.position_ids"] = torch.arange(512)[None]
    torch.save({"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {"state": {}, "param_groups": []}}, path)


class Plain:
    """Labels one report after the other."""

    def __init__(self, checkpoint: Path, vocabulary: Path, **sizes: int) -> None:
        from transformers import BertTokenizer

        lines = vocabulary.read_text(encoding="utf-8").splitlines()
        self.tokenizer: Any = BertTokenizer(vocab={piece: i for i, piece in enumerate(lines)}, do_lower_case=True)
        self.labeler = Labeler(**sizes).eval()
        state = torch.load(checkpoint, weights_only=True)["model_state_dict"]
        self.labeler.load_state_dict({k.replace("module.", ""): v for k, v in state.items()}, strict=False)

    def classes(self, report: str) -> list[int]:
        """The class of each head."""
        report = re.sub(r"\s+", " ", report.strip().replace("\n", " ")).strip()
        pieces = self.tokenizer.tokenize(report)
        ids = [101, *self.tokenizer.convert_tokens_to_ids(pieces), 102]
        if len(ids) > 512:
            ids = [*ids[:511], 102]
        with torch.no_grad():
            batch = torch.tensor([ids])
            first = self.labeler.bert(batch, attention_mask=torch.ones(1, len(ids))).last_hidden_state[:, 0]
            return [int(head(first).argmax(dim=1).item()) for head in self.labeler.linear_heads]

    def binary(self, report: str) -> dict[str, int]:
        """f1chexbert's mode rrg: positive and uncertain are 1, by name."""
        return {name: int(c in (1, 3)) for name, c in zip(NAMES, self.classes(report), strict=True)}
