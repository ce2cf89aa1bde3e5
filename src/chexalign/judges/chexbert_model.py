"""CheXbert's network: a BERT with one linear head per label, from the published checkpoint's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chexalign.errors import UserError
from chexalign.judges.chexpert_terms import LABELS

if TYPE_CHECKING:
    import torch

HEADS: tuple[str, ...] = LABELS
"""The label of each head of the checkpoint, in CheXpert's order; only this module reads heads by their position."""

CLASSES: tuple[Literal["blank", "positive", "negative", "uncertain"], ...] = (
    "blank",
    "positive",
    "negative",
    "uncertain",
)
"""What the classes of a head mean; that of No Finding has the first two alone."""

_HEAD_SIZE = 64  # of attention, in every BERT of the original's kind
_EPSILON = 1e-12  # of LayerNorm
_LINEARS = {
    "attention.self.query": ("hidden", "hidden"),
    "attention.self.key": ("hidden", "hidden"),
    "attention.self.value": ("hidden", "hidden"),
    "attention.output.dense": ("hidden", "hidden"),
    "intermediate.dense": ("inner", "hidden"),
    "output.dense": ("hidden", "inner"),
}
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
_QKV = "attention.self.qkv"


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


class CheXbert:
    """The network with weights of `read_checkpoint`, whose sizes are theirs: 12 layers of 768 in the published one.

    Reports are laid one behind the other, so that nothing is padded, and the last layer is computed for [CLS] alone,
    the one token that the heads read. Float32; equal to BertModel with heads to rounding.

    Source: Devlin et al. 2019 (arXiv:1810.04805), as in transformers' BertModel with exact GELU.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor], device: str) -> None:
        """Raises: UserError when a weight is missing or of another shape."""
        import torch

        self.n_layers = _check(weights)
        kept = {name.removeprefix("bert."): tensor.float().to(device) for name, tensor in weights.items()}
        for layer in map(_prefix, range(self.n_layers)):
            for kind in ("weight", "bias"):
                names = [f"{layer}attention.self.{name}.{kind}" for name in ("query", "key", "value")]
                kept[f"{layer}{_QKV}.{kind}"] = torch.cat([kept.pop(name) for name in names])
        self._weights, self._device = kept, device

    def classes(self, reports: Sequence[Sequence[int]]) -> dict[str, list[int]]:
        """By label the class of each report, given as token ids from [CLS] to [SEP], at most 512."""
        import torch

        lengths = [len(tokens) for tokens in reports]
        starts = [sum(lengths[:i]) for i in range(len(lengths))]
        with torch.inference_mode():
            states = self._embed(reports)
            for number in range(self.n_layers):
                only = starts if number == self.n_layers - 1 else None
                states = self._layer(_prefix(number), states, starts, lengths, only)
            return {
                name: self._linear(f"linear_heads.{i}", states).argmax(dim=1).tolist() for i, name in enumerate(HEADS)
            }

    def _embed(self, reports: Sequence[Sequence[int]]) -> torch.Tensor:
        """The states before the first layer: [N, hidden] for N tokens in all."""
        import torch

        tokens = torch.tensor([token for tokens in reports for token in tokens], device=self._device)
        places = torch.tensor([place for tokens in reports for place in range(len(tokens))], device=self._device)
        words, positions, types = (
            self._weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
        )
        return self._norm("embeddings.LayerNorm", words[tokens] + positions[places] + types[0])

    def _layer(
        self, layer: str, states: torch.Tensor, starts: list[int], lengths: list[int], only: list[int] | None
    ) -> torch.Tensor:
        """The states after a layer, of all tokens or of those in `only`."""
        import torch

        n_heads = max(1, states.shape[1] // _HEAD_SIZE)
        joint = self._linear(layer + _QKV, states).view(len(states), 3, n_heads, -1)
        mixed = []
        for start, length in zip(starts, lengths, strict=True):  # attention is a small part; masks would cost more
            query, key, value = joint[start : start + length].permute(1, 2, 0, 3)
            query = query if only is None else query[:, :1]
            mixed.append(torch.nn.functional.scaled_dot_product_attention(query[None], key[None], value[None])[0])
        attended = torch.cat([part.transpose(0, 1).flatten(1) for part in mixed])
        states = states if only is None else states[only]
        states = self._norm(
            f"{layer}attention.output.LayerNorm", states + self._linear(f"{layer}attention.output.dense", attended)
        )
        inner = torch.nn.functional.gelu(self._linear(f"{layer}intermediate.dense", states))
        return self._norm(f"{layer}output.LayerNorm", states + self._linear(f"{layer}output.dense", inner))

    def _linear(self, name: str, states: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.linear(states, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, name: str, states: torch.Tensor) -> torch.Tensor:
        import torch

        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return torch.nn.functional.layer_norm(states, weight.shape, weight, bias, _EPSILON)


def _prefix(number: int) -> str:
    return f"encoder.layer.{number}."


def _check(weights: Mapping[str, torch.Tensor]) -> int:
    """The number of layers, once every weight that is needed is there in its shape."""
    vocabulary = weights.get("bert.embeddings.word_embeddings.weight")
    inner = weights.get("bert.encoder.layer.0.intermediate.dense.weight")
    if vocabulary is None or inner is None:
        raise _no_checkpoint(None, "it holds no BERT")
    sizes = {"hidden": vocabulary.shape[1], "inner": inner.shape[0]}
    layers = {name.split(".")[3] for name in weights if name.startswith("bert.encoder.layer.")}
    shapes: dict[str, tuple[int, ...]] = {
        f"bert.embeddings.LayerNorm.{kind}": (sizes["hidden"],) for kind in ("weight", "bias")
    }
    for layer in (f"bert.{_prefix(number)}" for number in range(len(layers))):
        for name, (rows, columns) in _LINEARS.items():
            shapes |= {f"{layer}{name}.weight": (sizes[rows], sizes[columns]), f"{layer}{name}.bias": (sizes[rows],)}
        shapes |= {f"{layer}{name}.{kind}": (sizes["hidden"],) for name in _NORMS for kind in ("weight", "bias")}
    for i in range(len(HEADS)):
        shapes[f"linear_heads.{i}.bias"] = (len(weights[f"linear_heads.{i}.weight"]),)
    found = {name: tuple(weights[name].shape) if name in weights else None for name in shapes}
    wrong = sorted(name for name, shape in shapes.items() if found[name] != shape)
    for name, least in (("position", 512), ("token_type", 1)):
        table = weights.get(f"bert.embeddings.{name}_embeddings.weight")
        if table is None or len(table) < least or table.shape[1] != sizes["hidden"]:
            wrong.append(f"bert.embeddings.{name}_embeddings.weight")
    if wrong:
        raise _no_checkpoint(None, f"{wrong[0]} is missing or of another shape")
    return len(layers)


def _no_checkpoint(path: Path | None, problem: str) -> UserError:
    return UserError(
        f"{path or 'The checkpoint of judge chexbert'} is no checkpoint of CheXbert ({problem}).",
        "Under model_state_dict it must hold a BERT, 13 heads of 4 classes and one of 2.",
        "Use chexbert.pth as it is published.",
    )
